//! Passkeys, made and used by a client and an authenticator that others wrote (`passkey` by 1Password).

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use callvault_app::{account::Role, core::TimeUs, seal::password::PasswordHash};
use passkey::{
    authenticator::{Authenticator, UiHint, UserCheck, UserValidationMethod},
    client::{Client, DefaultClientData},
    crypto::rust_crypto::RustCryptoBackend,
    types::{
        Passkey,
        ctap2::{Aaguid, Ctap2Error},
        webauthn::{CredentialCreationOptions, CredentialRequestOptions},
    },
};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use url::Url;

use crate::{
    World,
    people::{Browser, PASSWORD, join, sign_in},
    sid, world_with,
};

/// Somebody who is there, and shows a finger unless told not to.
struct Finger(Arc<AtomicBool>);

#[async_trait::async_trait]
impl UserValidationMethod for Finger {
    type PasskeyItem = Passkey;

    async fn check_user<'a>(
        &self,
        _: UiHint<'a, Passkey>,
        presence: bool,
        verification: bool,
    ) -> Result<UserCheck, Ctap2Error> {
        Ok(UserCheck {
            presence,
            verification: verification && self.0.load(Ordering::Relaxed),
        })
    }

    fn is_presence_enabled(&self) -> bool {
        true
    }

    fn is_verification_enabled(&self) -> Option<bool> {
        Some(true)
    }
}

type Device = Client<Option<Passkey>, Finger, RustCryptoBackend, public_suffix::PublicSuffixList, ()>;

fn device(finger: &Arc<AtomicBool>) -> Device {
    let mut authenticator =
        Authenticator::new(Aaguid::new_empty(), None, Finger(Arc::clone(finger)), RustCryptoBackend);
    authenticator.set_make_credentials_with_signature_counter(true);
    Client::new(authenticator)
}

async fn world() -> World {
    world_with("", "url = \"https://vault.example.in\"").await
}

fn site() -> Url {
    Url::parse("https://vault.example.in").expect("an address")
}

fn text(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

/// What a page sends of what the browser made.
async fn create(device: &mut Device, origin: &Url, options: &Value) -> Value {
    let options: CredentialCreationOptions =
        serde_json::from_value(json!({ "publicKey": options })).expect("options as browsers read them");
    let made = device
        .register(origin, options, DefaultClientData)
        .await
        .expect("a passkey");
    let response = made.response;
    json!({
        "name": "telephone", "client_data": text(&*response.client_data_json),
        "attestation": text(&*response.attestation_object),
    })
}

async fn answer(device: &mut Device, origin: &Url, options: &Value) -> Value {
    let options: CredentialRequestOptions =
        serde_json::from_value(json!({ "publicKey": options })).expect("options as browsers read them");
    let made = device
        .authenticate(origin, options, DefaultClientData)
        .await
        .expect("a signature");
    let signed = made.response;
    json!({
        "id": made.id, "user_handle": signed.user_handle.as_ref().map(|handle| text(&**handle)),
        "client_data": text(&*signed.client_data_json), "authenticator_data": text(&*signed.authenticator_data),
        "signature": text(&*signed.signature),
    })
}

async fn question(world: &World) -> Value {
    let body = json!({"account": "acme"});
    let (status, options) = Browser::default()
        .send(world, Method::POST, "/v1/session/challenge", Some(body))
        .await;
    assert_eq!(status, StatusCode::OK, "{options}");
    options
}

async fn enter(world: &World, passkey: &Value) -> (StatusCode, Value) {
    let body = json!({"account": "acme", "passkey": passkey});
    Browser::default()
        .send(world, Method::POST, "/v1/session", Some(body))
        .await
}

/// A user with a passkey on a device.
async fn registered(world: &World, device: &mut Device) -> (Browser, Value) {
    let hash = PasswordHash::new(PASSWORD.as_bytes()).expect("a hash");
    let (realm, user) = join(world, Some(&sid("acme")), Role::Compliance, &hash).await;
    let mut browser = Browser::with(&sign_in(world, &realm, &user).await);
    let path = "/v1/session/passkeys";
    let (status, options) = browser
        .send(world, Method::POST, &format!("{path}/challenge"), None)
        .await;
    assert_eq!(status, StatusCode::OK, "{options}");
    let made = create(device, &site(), &options).await;
    let (status, passkey) = browser.send(world, Method::POST, path, Some(made.clone())).await;
    assert_eq!(status, StatusCode::CREATED, "{passkey}");
    let (status, again) = browser.send(world, Method::POST, path, Some(made)).await;
    assert_eq!(
        (status, again["field"].as_str()),
        (StatusCode::UNPROCESSABLE_ENTITY, Some("client_data")),
        "a question is answered once"
    );
    (browser, passkey)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_passkey_signs_in_alone_and_once_a_question() {
    let world = world().await;
    let finger = Arc::new(AtomicBool::new(true));
    let mut device = device(&finger);
    let (mut browser, passkey) = registered(&world, &mut device).await;
    let options = question(&world).await;
    let signed = answer(&mut device, &site(), &options).await;
    let (status, me) = enter(&world, &signed).await;
    assert_eq!(
        (status, me["role"].as_str()),
        (StatusCode::CREATED, Some("compliance")),
        "{me}"
    );
    assert_eq!(
        enter(&world, &signed).await.0,
        StatusCode::UNAUTHORIZED,
        "the same answer again"
    );
    // Too late.
    let options = question(&world).await;
    let signed = answer(&mut device, &site(), &options).await;
    world.clock.advance_to(TimeUs(world.now().0 + 300 * 1_000_000));
    assert_eq!(enter(&world, &signed).await.0, StatusCode::UNAUTHORIZED);
    // Removed.
    let path = format!("/v1/session/passkeys/{}", passkey["id"].as_str().expect("an id"));
    let (_, listed) = browser.send(&world, Method::GET, "/v1/session/passkeys", None).await;
    assert_eq!(
        (
            &listed["passkeys"][0]["name"],
            listed["passkeys"][0]["used_at"].is_string()
        ),
        (&json!("telephone"), true)
    );
    assert_eq!(
        browser.send(&world, Method::DELETE, &path, None).await.0,
        StatusCode::NO_CONTENT
    );
    let signed = answer(&mut device, &site(), &question(&world).await).await;
    assert_eq!(enter(&world, &signed).await.0, StatusCode::UNAUTHORIZED);
    world.serving.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_the_passkeys_own_answer_is_refused() {
    let world = world().await;
    let finger = Arc::new(AtomicBool::new(true));
    let mut device = device(&finger);
    registered(&world, &mut device).await;
    let good = answer(&mut device, &site(), &question(&world).await).await;
    assert_eq!(enter(&world, &good).await.0, StatusCode::CREATED);
    // Another signature, another user, another key's name: each with a question of its own.
    for (field, value) in [
        ("signature", good["signature"].clone()),
        ("user_handle", json!("AAAAAAAAAAAAAAAAAAAAAA")),
        ("id", json!("AAAA")),
        ("authenticator_data", good["authenticator_data"].clone()),
        ("client_data", good["client_data"].clone()),
        ("client_data", json!("!")),
    ] {
        let mut signed = answer(&mut device, &site(), &question(&world).await).await;
        signed[field] = value;
        assert_eq!(enter(&world, &signed).await.0, StatusCode::UNAUTHORIZED, "{field}");
    }
    // A page of another host of the same site.
    let elsewhere = Url::parse("https://sub.vault.example.in").expect("an address");
    let signed = answer(&mut device, &elsewhere, &question(&world).await).await;
    assert_eq!(enter(&world, &signed).await.0, StatusCode::UNAUTHORIZED, "origin");
    // Nobody showed a finger, though the authenticator was told that none is needed.
    finger.store(false, Ordering::Relaxed);
    let mut options = question(&world).await;
    options["userVerification"] = json!("discouraged");
    let signed = answer(&mut device, &site(), &options).await;
    assert_eq!(enter(&world, &signed).await.0, StatusCode::UNAUTHORIZED, "not verified");
    finger.store(true, Ordering::Relaxed);
    // A question that the vault did not ask, and one that was asked of another account.
    let mut options = question(&world).await;
    options["challenge"] = json!("AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA");
    let signed = answer(&mut device, &site(), &options).await;
    assert_eq!(enter(&world, &signed).await.0, StatusCode::UNAUTHORIZED);
    let signed = answer(&mut device, &site(), &question(&world).await).await;
    let body = json!({"account": "other", "passkey": signed});
    let (status, _) = Browser::default()
        .send(&world, Method::POST, "/v1/session", Some(body))
        .await;
    assert_eq!(status, StatusCode::UNAUTHORIZED);
    world.serving.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_copied_passkey_is_noticed_by_its_counter() {
    let world = world().await;
    let finger = Arc::new(AtomicBool::new(true));
    let mut device = device(&finger);
    registered(&world, &mut device).await;
    let copy = device.authenticator().store().clone();
    for _ in 0..3 {
        let signed = answer(&mut device, &site(), &question(&world).await).await;
        assert_eq!(enter(&world, &signed).await.0, StatusCode::CREATED);
    }
    *device.authenticator_mut().store_mut() = copy;
    let signed = answer(&mut device, &site(), &question(&world).await).await;
    assert_eq!(enter(&world, &signed).await.0, StatusCode::UNAUTHORIZED);
    world.serving.close().await;
}
