//! Signed and unsigned vCons, judged by `jsonschema`, `jwcrypto` and `cryptography` of Python.

use std::{
    io::Write as _,
    path::Path,
    process::{Command, Stdio},
};

use callvault_app::core::hold::Reader;
use callvault_server::{demo::generate::tones, tls::open_signer};
use reqwest::StatusCode;
use serde_json::{Value, json};

use crate::{World, platform::python, world};

const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/api/vcon_check.py");

/// What the check says of these, or why it refuses.
fn judge(unsigned: &[Value], signed: &[Value]) -> Vec<String> {
    let schema: Value = serde_json::from_str(include_str!("vcon_facts.schema.json")).expect("a schema");
    let given = json!({ "schema": schema, "unsigned": unsigned, "signed": signed });
    let mut child = Command::new(python())
        .arg(SCRIPT)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("Python");
    let mut input = child.stdin.take().expect("stdin");
    input.write_all(given.to_string().as_bytes()).expect("written");
    drop(input);
    let done = child.wait_with_output().expect("an end");
    let said = String::from_utf8_lossy(&done.stderr);
    assert!(done.status.success(), "{said}");
    let told = String::from_utf8(done.stdout).expect("text");
    told.lines().map(ToOwned::to_owned).collect()
}

impl World {
    async fn vcon(&self, call: &str, query: &str) -> Value {
        let got = self.export(&format!("calls/{call}.vcon.json{query}"), &[]).await;
        assert_eq!(got.status, StatusCode::OK, "{}", got.problem());
        got.problem()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn vcons_are_what_the_drafts_ask_for() {
    let world = world().await;
    let (bare, full) = (world.call(20).await, world.call(10).await);
    world.record(&full, 1).await;
    let mut unsigned = vec![world.vcon(&bare, "").await];
    for query in ["", "?audio=url", "?audio=none", "?signed=false"] {
        unsigned.push(world.vcon(&full, query).await);
    }
    let mut signed = Vec::new();
    for query in ["?signed=true", "?signed=true&audio=url", "?signed=true&audio=none"] {
        signed.push(world.vcon(&full, query).await);
    }
    let told = judge(&unsigned, &signed);
    // One certificate, the region's; it is what the operator is shown.
    let vault = world.site.open_vault("in").await.expect("a vault");
    let signer = vault.vcon_signer().await.expect("a signer");
    let own = format!("ES256 {}", hex::encode(signer.fingerprint()));
    assert_eq!(told, [own.as_str(); 3]);
    // Opened anew it is still the same; its key is nowhere in clear.
    let again = callvault_app::Vault::open(world.site.open_parts("in").await.expect("parts"));
    let again = again.await.expect("a vault").vcon_signer().await.expect("a signer");
    assert_eq!(again.fingerprint(), signer.fingerprint());
    let kept = vault
        .catalog()
        .find_value("vcon-signer")
        .await
        .expect("read")
        .expect("kept");
    let kept: Value = serde_json::from_slice(&kept).expect("JSON");
    use base64::{Engine as _, engine::general_purpose::STANDARD};
    let key = STANDARD.decode(kept["key"].as_str().expect("a key")).expect("base64");
    assert!(callvault_app::seal::jws::CertifiedSigner::new(&key, Vec::new()).is_err());
    assert!(!key.starts_with(&[0x30]), "PKCS#8 begins like this");
    let (status, problem) = world
        .get(&format!(
            "/v1/accounts/acme/exports/calls/{full}.vcon.json?signed=perhaps"
        ))
        .await;
    assert_eq!(
        (status, &problem["field"]),
        (StatusCode::UNPROCESSABLE_ENTITY, &json!("signed"))
    );
    world.serving.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn more_audio_than_can_be_signed_is_refused_with_the_way_out() {
    let world = world().await;
    let call = world.call(10).await;
    let place = format!("/v1/accounts/acme/records/recordings?call_sid={call}&consent=contract&consent_version=7");
    let request = world.client.post(world.url(&place)).header("content-type", "audio/wav");
    let request = request.basic_auth(&world.acme.token_key, Some(&world.acme.secret));
    let answer = request.body(tones(3, 530)).send().await.expect("an answer");
    assert_eq!(answer.status(), StatusCode::CREATED);
    let refused = world.export(&format!("calls/{call}.vcon.json?signed=true"), &[]).await;
    let problem = refused.problem();
    assert_eq!(
        (refused.status, &problem["field"]),
        (StatusCode::UNPROCESSABLE_ENTITY, &json!("audio"))
    );
    assert_eq!(problem["type"], "/problems/too-large-to-sign");
    assert_eq!(
        judge(&[], &[world.vcon(&call, "?signed=true&audio=url").await]).len(),
        1
    );
    world.serving.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_operators_own_rsa_key_signs_as_rs256() {
    let world = world().await;
    let call = world.call(10).await;
    world.record(&call, 1).await;
    let folder = tempfile::tempdir().expect("a folder");
    let (key, cert) = (folder.path().join("key.pem"), folder.path().join("cert.pem"));
    // ring makes no RSA keys; an operator's comes from elsewhere.
    let script = "import sys, datetime\n\
        from cryptography import x509\n\
        from cryptography.hazmat.primitives import hashes, serialization as s\n\
        from cryptography.hazmat.primitives.asymmetric import rsa\n\
        key = rsa.generate_private_key(65537, 2048)\n\
        name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, 'operator')])\n\
        now = datetime.datetime(2026, 1, 1)\n\
        cert = (x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())\n\
                .serial_number(7).not_valid_before(now).not_valid_after(now.replace(year=2036)).sign(key, hashes.SHA256()))\n\
        open(sys.argv[1], 'wb').write(key.private_bytes(s.Encoding.PEM, s.PrivateFormat.PKCS8, s.NoEncryption()))\n\
        open(sys.argv[2], 'wb').write(cert.public_bytes(s.Encoding.PEM))\n";
    let made = Command::new(python())
        .args(["-c", script])
        .args([&key, &cert])
        .output()
        .expect("Python");
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    let signer = open_signer(&cert, &key).expect("a signer");
    let parts = world.site.open_parts("in").await.expect("parts");
    let vault = callvault_app::Vault::open(parts)
        .await
        .expect("a vault")
        .with_vcon_signer(signer);
    let call = call.parse().expect("a SID");
    let vcon = vault
        .plan_vcon(&crate::sid("acme"), call, Reader::Account)
        .await
        .expect("planned");
    let mut kept = Kept(Vec::new());
    vcon.write_signed(&vault, &callvault_app::export::VconAudio::Inline, &mut kept)
        .await
        .expect("written");
    let told = judge(&[], &[serde_json::from_slice(&kept.0).expect("JSON")]);
    assert!(told[0].starts_with("RS256 "), "{told:?}");
    // A certificate that is not the key's is refused before anything is served.
    let other = Path::new(&world.serving.doors[0].cert_file);
    assert!(open_signer(other, &key).is_err());
    world.serving.close().await;
}

struct Kept(Vec<u8>);

#[async_trait::async_trait]
impl callvault_app::export::Sink for Kept {
    async fn write(&mut self, bytes: bytes::Bytes) -> callvault_app::Result<()> {
        self.0.extend_from_slice(&bytes);
        Ok(())
    }
}
