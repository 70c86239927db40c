//! People: invited, signed in, changed, kept out.

use callvault_app::{
    account::Role,
    core::{AccountSid, TimeUs},
    realm::Realm,
    seal::password::PasswordHash,
    session::Method as SignedInBy,
    user::User,
};
use callvault_server::cookie;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::{World, sid, world};

pub(crate) const PASSWORD: &str = "lotus under rain";

/// What a browser has: a cookie, or none yet.
#[derive(Clone, Default)]
pub(crate) struct Browser {
    pub(crate) cookie: Option<String>,
}

impl Browser {
    /// With the cookie of this secret.
    pub(crate) fn with(secret: &str) -> Self {
        Self {
            cookie: Some(format!("{}={secret}", cookie::NAME)),
        }
    }

    /// Sends a request as a page of the site itself does, and keeps the cookie that comes back.
    pub(crate) async fn send(
        &mut self,
        world: &World,
        method: Method,
        path: &str,
        body: Option<Value>,
    ) -> (StatusCode, Value) {
        self.send_from(world, method, path, body, ("sec-fetch-site", "same-origin"))
            .await
    }

    async fn send_from(
        &mut self,
        world: &World,
        method: Method,
        path: &str,
        body: Option<Value>,
        header: (&str, &str),
    ) -> (StatusCode, Value) {
        let mut request = world.client.request(method, world.url(path)).header(header.0, header.1);
        if let Some(cookie) = &self.cookie {
            request = request.header("cookie", cookie);
        }
        if let Some(body) = body {
            request = request.json(&body);
        }
        let response = request.send().await.expect("an answer");
        if let Some(set) = response.headers().get("set-cookie") {
            let set = set.to_str().expect("text");
            for part in ["Path=/", "Secure", "HttpOnly", "SameSite=Strict"] {
                assert!(set.contains(part), "{part}");
            }
            self.cookie = set.split(';').next().map(ToOwned::to_owned);
        }
        let status = response.status();
        let text = response.text().await.expect("a body");
        (status, serde_json::from_str(&text).unwrap_or(Value::String(text)))
    }
}

/// A user who has joined, made without the doors.
pub(crate) async fn join(
    world: &World,
    account: Option<&AccountSid>,
    role: Role,
    hash: &PasswordHash,
) -> (Realm, User) {
    let vault = world.site.open_vault("in").await.expect("a vault");
    let realm = vault.get_realm(account).await.expect("a realm");
    let email = format!("{}@example.in", role.as_str());
    let (user, _) = vault
        .invite_user(&realm, &email, None, role, None)
        .await
        .expect("a user");
    let user = vault
        .accept_invitation(&realm, user, None, hash)
        .await
        .expect("accepted");
    (realm, user)
}

/// The secret of a new session.
pub(crate) async fn sign_in(world: &World, realm: &Realm, user: &User) -> String {
    let vault = world.site.open_vault("in").await.expect("a vault");
    vault
        .begin_session(realm, user, SignedInBy::Password, None, None)
        .await
        .expect("a session")
}

fn hash() -> PasswordHash {
    PasswordHash::new(PASSWORD.as_bytes()).expect("a hash")
}

fn credentials(email: &str, password: &str) -> Option<Value> {
    Some(json!({"account": "acme", "email": email, "password": password}))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_person_is_invited_signs_in_and_does_what_the_role_may() {
    let world = world().await;
    let owner = world.site.open_vault("in").await.expect("a vault");
    let owner = owner.create_token(&sid("acme"), Role::Owner).await.expect("a token");
    let send = |method, path: &str, body| {
        let path = format!("/v1/accounts/acme{path}");
        let (world, owner) = (&world, &owner);
        async move { world.send(method, &path, Some(owner), body).await }
    };
    let new = json!({"email": " Asha@Example.in", "name": "Asha", "role": "developer"});
    let (status, invited) = send(Method::POST, "/users", Some(new.clone())).await;
    assert_eq!(status, StatusCode::CREATED, "{invited}");
    let (status, answer) = send(Method::POST, "/users", Some(new)).await;
    assert_eq!(
        (status, answer["field"].as_str()),
        (StatusCode::UNPROCESSABLE_ENTITY, Some("email"))
    );

    // Nobody signs in before, with a weak password, or with another link.
    let mut asha = Browser::default();
    let (status, _) = asha
        .send(
            &world,
            Method::POST,
            "/v1/session",
            credentials("asha@example.in", PASSWORD),
        )
        .await;
    assert_eq!(status, StatusCode::UNAUTHORIZED);
    let accept =
        |link: &str, password: &str| Some(json!({"account": "acme", "invitation": link, "password": password}));
    let link = invited["invitation"].as_str().expect("a link");
    let (status, answer) = asha
        .send(&world, Method::POST, "/v1/invitation", accept(link, "asha@example.in"))
        .await;
    assert_eq!(
        (status, answer["field"].as_str()),
        (StatusCode::UNPROCESSABLE_ENTITY, Some("password"))
    );
    let wrong = link.replace(['0', '1', '2'], "3");
    let (status, _) = asha
        .send(&world, Method::POST, "/v1/invitation", accept(&wrong, PASSWORD))
        .await;
    assert_eq!(status, StatusCode::UNAUTHORIZED);
    let (status, me) = asha
        .send(&world, Method::POST, "/v1/invitation", accept(link, PASSWORD))
        .await;
    assert_eq!(status, StatusCode::CREATED, "{me}");
    assert_eq!(
        [&me["email"], &me["role"], &me["account"], &me["name"]],
        ["asha@example.in", "developer", "acme", "Asha"]
    );
    let (status, _) = asha
        .send(&world, Method::POST, "/v1/invitation", accept(link, PASSWORD))
        .await;
    assert_eq!(status, StatusCode::UNAUTHORIZED, "a link works once");

    // The cookie does what the role may, and the log says who.
    let (status, _) = asha
        .send(&world, Method::GET, "/v1/accounts/acme/records/calls", None)
        .await;
    assert_eq!(status, StatusCode::OK);
    let (status, _) = asha.send(&world, Method::GET, "/v1/accounts/acme/users", None).await;
    assert_eq!(status, StatusCode::FORBIDDEN);
    let (status, _) = asha
        .send(&world, Method::GET, "/v1/accounts/other/records/calls", None)
        .await;
    assert_eq!(status, StatusCode::NOT_FOUND);
    let (_, log) = send(Method::GET, "/logs/api_access", None).await;
    let entries = log["entries"].as_array().expect("entries");
    let by_asha = entries
        .iter()
        .find(|entry| entry["name"] == "calls.list")
        .expect("the listing");
    assert_eq!(
        [
            &by_asha["detail"]["user"],
            &by_asha["detail"]["role"],
            &by_asha["detail"]["key"]
        ],
        [&invited["user"], &json!("developer"), &me["id"]]
    );
    let (_, log) = send(Method::GET, "/logs/activity", None).await;
    let entries = log["entries"].as_array().expect("entries");
    let mut names: Vec<_> = entries.iter().filter_map(|entry| entry["name"].as_str()).collect();
    names.sort_unstable();
    assert_eq!(names, ["invitation.accepted", "session.begun", "user.invited"]);
    let (_, users) = send(Method::GET, "/users", None).await;
    assert_eq!(users["users"][0]["email"], "asha@example.in");

    // Another role ends the sessions; signed in again, the new rights are there. Disabled, nothing is.
    let user = format!("/users/{}", invited["user"].as_str().expect("an id"));
    let (status, answer) = send(Method::PUT, &user, Some(json!({"role": "admin"}))).await;
    assert_eq!(
        (status, answer["role"].as_str()),
        (StatusCode::OK, Some("admin")),
        "{answer}"
    );
    let (status, _) = asha.send(&world, Method::GET, "/v1/session", None).await;
    assert_eq!(status, StatusCode::UNAUTHORIZED);
    let (status, _) = asha
        .send(
            &world,
            Method::POST,
            "/v1/session",
            credentials("ASHA@example.in", PASSWORD),
        )
        .await;
    assert_eq!(status, StatusCode::CREATED);
    let (status, _) = asha.send(&world, Method::GET, "/v1/accounts/acme/users", None).await;
    assert_eq!(status, StatusCode::OK);
    // An admin gives no more than an admin has, and takes nothing from an owner.
    let (status, answer) = asha
        .send(
            &world,
            Method::POST,
            "/v1/accounts/acme/tokens",
            Some(json!({"role": "compliance"})),
        )
        .await;
    assert_eq!(
        (status, answer["type"].as_str()),
        (StatusCode::UNPROCESSABLE_ENTITY, Some("/problems/role-above-own"))
    );
    let path = format!("/v1/accounts/acme/tokens/{}", owner.token_key);
    let (status, _) = asha.send(&world, Method::DELETE, &path, None).await;
    assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY);
    let (status, _) = send(Method::PUT, &user, Some(json!({"disabled": true}))).await;
    assert_eq!(status, StatusCode::OK);
    let (status, _) = asha.send(&world, Method::GET, "/v1/accounts/acme/users", None).await;
    assert_eq!(status, StatusCode::UNAUTHORIZED);
    let (status, _) = asha
        .send(
            &world,
            Method::POST,
            "/v1/session",
            credentials("asha@example.in", PASSWORD),
        )
        .await;
    assert_eq!(status, StatusCode::UNAUTHORIZED);
    assert_eq!(send(Method::DELETE, &user, None).await.0, StatusCode::NO_CONTENT);
    assert_eq!(send(Method::DELETE, &user, None).await.0, StatusCode::NOT_FOUND);
    world.serving.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_invitation_ends_after_three_days_and_another_one_takes_its_place() {
    let world = world().await;
    let vault = world.site.open_vault("in").await.expect("a vault");
    let owner = vault.create_token(&sid("acme"), Role::Owner).await.expect("a token");
    let new = json!({"email": "ravi@example.in", "role": "auditor"});
    let (_, first) = world
        .send(Method::POST, "/v1/accounts/acme/users", Some(&owner), Some(new))
        .await;
    let path = format!(
        "/v1/accounts/acme/users/{}/invitation",
        first["user"].as_str().expect("an id")
    );
    let (status, second) = world.send(Method::POST, &path, Some(&owner), None).await;
    assert_eq!(status, StatusCode::CREATED);
    let (_, third) = world.send(Method::POST, &path, Some(&owner), None).await;
    let accept = async |invited: &Value| {
        let body = json!({"account": "acme", "invitation": invited["invitation"], "password": PASSWORD});
        Browser::default()
            .send(&world, Method::POST, "/v1/invitation", Some(body))
            .await
            .0
    };
    assert_eq!(accept(&first).await, StatusCode::UNAUTHORIZED);
    assert_eq!(accept(&second).await, StatusCode::UNAUTHORIZED);
    world
        .clock
        .advance_to(TimeUs(world.now().0 + 72 * 3_600 * 1_000_000 - 1));
    assert_eq!(accept(&third).await, StatusCode::CREATED);
    let (_, fourth) = world.send(Method::POST, &path, Some(&owner), None).await;
    world.clock.advance_to(TimeUs(world.now().0 + 72 * 3_600 * 1_000_000));
    assert_eq!(accept(&fourth).await, StatusCode::UNAUTHORIZED, "to the second");
    world.serving.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_ends_by_time_by_word_and_at_the_next_one() {
    let world = world().await;
    let (realm, user) = join(&world, Some(&sid("acme")), Role::Developer, &hash()).await;
    let mut browser = Browser::default();
    let mut enter = credentials(user.email(), PASSWORD);
    let (status, _) = browser.send(&world, Method::POST, "/v1/session", enter.clone()).await;
    assert_eq!(status, StatusCode::CREATED);
    // Whoever put a cookie into the browser before has nothing of it afterwards.
    let mut before = browser.clone();
    browser.send(&world, Method::POST, "/v1/session", enter.clone()).await;
    assert_ne!(before.cookie, browser.cookie);
    let alive = async |browser: &mut Browser| browser.send(&world, Method::GET, "/v1/session", None).await.0;
    assert_eq!(alive(&mut before).await, StatusCode::UNAUTHORIZED);
    assert_eq!(alive(&mut browser).await, StatusCode::OK);

    // Used within half an hour, it lasts twelve hours in all.
    let began = world.now().0;
    let minutes = |minutes: i64| TimeUs(began + minutes * 60_000_000);
    for minute in (25..720).step_by(25) {
        world.clock.advance_to(minutes(minute));
        assert_eq!(alive(&mut browser).await, StatusCode::OK, "{minute}");
    }
    world.clock.advance_to(minutes(720));
    assert_eq!(alive(&mut browser).await, StatusCode::UNAUTHORIZED);
    browser.send(&world, Method::POST, "/v1/session", enter.clone()).await;
    world.clock.advance_to(minutes(720 + 30));
    assert_eq!(alive(&mut browser).await, StatusCode::UNAUTHORIZED, "idle");

    // One's own sessions: listed, ended one by one, ended with the password.
    let mut other = Browser::with(&sign_in(&world, &realm, &user).await);
    browser.send(&world, Method::POST, "/v1/session", enter.clone()).await;
    let (_, listed) = browser.send(&world, Method::GET, "/v1/sessions", None).await;
    let sessions = listed["sessions"].as_array().expect("sessions");
    assert_eq!(sessions.len(), 2, "{listed}");
    let foreign = sessions
        .iter()
        .find(|session| session["current"] == false)
        .expect("the other one");
    let path = format!("/v1/sessions/{}", foreign["id"].as_str().expect("an id"));
    assert_eq!(
        browser.send(&world, Method::DELETE, &path, None).await.0,
        StatusCode::NO_CONTENT
    );
    assert_eq!(
        browser.send(&world, Method::DELETE, &path, None).await.0,
        StatusCode::NOT_FOUND
    );
    assert_eq!(alive(&mut other).await, StatusCode::UNAUTHORIZED);
    let mut third = Browser::with(&sign_in(&world, &realm, &user).await);
    let change = |present: &str| Some(json!({"present": present, "password": "rain over lotus"}));
    let (status, answer) = browser
        .send(&world, Method::PUT, "/v1/session/password", change("wrong wrong wrong"))
        .await;
    assert_eq!(
        (status, answer["field"].as_str()),
        (StatusCode::UNPROCESSABLE_ENTITY, Some("present"))
    );
    let (status, _) = browser
        .send(&world, Method::PUT, "/v1/session/password", change(PASSWORD))
        .await;
    assert_eq!(status, StatusCode::CREATED);
    assert_eq!(alive(&mut third).await, StatusCode::UNAUTHORIZED);
    assert_eq!(alive(&mut browser).await, StatusCode::OK);
    let mut old = browser.clone();
    assert_eq!(
        browser.send(&world, Method::DELETE, "/v1/session", None).await.0,
        StatusCode::NO_CONTENT
    );
    assert_eq!(browser.cookie.as_deref(), Some("__Host-callvault="));
    assert_eq!(alive(&mut old).await, StatusCode::UNAUTHORIZED);
    let (status, _) = browser.send(&world, Method::POST, "/v1/session", enter.take()).await;
    assert_eq!(status, StatusCode::UNAUTHORIZED, "the old password");
    world.serving.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn another_site_changes_nothing_with_the_cookie() {
    let world = world().await;
    let (realm, user) = join(&world, Some(&sid("acme")), Role::Compliance, &hash()).await;
    let mut browser = Browser::with(&sign_in(&world, &realm, &user).await);
    let own = format!("https://{}", world.serving.doors[0].address);
    for (header, allowed) in [
        (("sec-fetch-site", "cross-site"), false),
        (("origin", "https://evil.example"), false),
        (("accept", "*/*"), false),
        (("origin", own.as_str()), true),
        (("x-callvault-request", "1"), true),
    ] {
        let change = Some(json!({"recording_days": 60}));
        let (status, answer) = browser
            .send_from(&world, Method::PUT, "/v1/accounts/acme/retention", change, header)
            .await;
        let expected = if allowed { StatusCode::OK } else { StatusCode::FORBIDDEN };
        assert_eq!(status, expected, "{header:?} {answer}");
    }
    let (status, _) = browser
        .send_from(&world, Method::DELETE, "/v1/session", None, ("origin", "null"))
        .await;
    assert_eq!(status, StatusCode::FORBIDDEN);
    let (status, _) = browser.send(&world, Method::GET, "/v1/session", None).await;
    assert_eq!(status, StatusCode::OK);
    world.serving.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_credentials_look_alike_and_cannot_be_tried_for_long() {
    let world = world().await;
    let (_, user) = join(&world, Some(&sid("acme")), Role::Developer, &hash()).await;
    let enter = async |account: &str, email: &str, password: &str| {
        let body = json!({"account": account, "email": email, "password": password});
        Browser::default()
            .send(&world, Method::POST, "/v1/session", Some(body))
            .await
    };
    let wrong = enter("acme", user.email(), "wrong wrong wrong").await;
    assert_eq!(wrong.0, StatusCode::UNAUTHORIZED);
    for (account, email) in [
        ("acme", "nobody@example.in"),
        ("nobody", user.email()),
        ("other", user.email()),
        ("a b", "x"),
    ] {
        assert_eq!(enter(account, email, PASSWORD).await, wrong, "{account} {email}");
    }
    let body = json!({"account": "lion", "email": "a@example.in", "password": PASSWORD});
    let (status, _) = Browser::default()
        .send(&world, Method::POST, "/v1/session", Some(body))
        .await;
    assert_eq!(status, StatusCode::MISDIRECTED_REQUEST);
    for _ in 0..8 {
        assert_eq!(
            enter("acme", user.email(), "wrong wrong wrong").await.0,
            StatusCode::UNAUTHORIZED
        );
    }
    assert_eq!(
        enter("acme", user.email(), PASSWORD).await.0,
        StatusCode::CREATED,
        "nine were wrong"
    );
    let all = futures::future::join_all((0..14).map(|_| enter("acme", user.email(), "wrong wrong wrong"))).await;
    let refused = all
        .iter()
        .filter(|answer| answer.0 == StatusCode::TOO_MANY_REQUESTS)
        .count();
    assert_eq!(refused, 4, "many at once are counted too");
    let (status, answer) = enter("acme", user.email(), PASSWORD).await;
    assert_eq!(
        (status, answer["type"].as_str()),
        (StatusCode::TOO_MANY_REQUESTS, Some("/problems/too-many-attempts"))
    );
    world.clock.advance_to(TimeUs(world.now().0 + 900 * 1_000_000));
    assert_eq!(enter("acme", user.email(), PASSWORD).await.0, StatusCode::CREATED);
    world.serving.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_operator_sees_rules_and_no_record_and_is_in_the_accounts_log() {
    let world = world().await;
    let (realm, user) = join(&world, None, Role::Operator, &hash()).await;
    let mut operator = Browser::default();
    let enter = json!({"email": user.email(), "password": PASSWORD});
    let (status, me) = operator.send(&world, Method::POST, "/v1/session", Some(enter)).await;
    assert_eq!(
        (status, me["role"].as_str(), me.get("account")),
        (StatusCode::CREATED, Some("operator"), None),
        "{me}"
    );
    assert_eq!(
        operator.send(&world, Method::GET, "/v1/operator/me", None).await,
        (StatusCode::OK, me.clone())
    );
    let (_, all) = operator.send(&world, Method::GET, "/v1/operator/accounts", None).await;
    let names: Vec<_> = all["accounts"]
        .as_array()
        .expect("accounts")
        .iter()
        .map(|account| &account["account"])
        .collect();
    assert_eq!(names, ["acme", "other"], "of this region");
    let (_, page) = operator
        .send(&world, Method::GET, "/v1/operator/accounts?limit=1", None)
        .await;
    let next = format!(
        "/v1/operator/accounts?limit=1&after={}",
        page["next_after"].as_str().expect("more")
    );
    let (_, page) = operator.send(&world, Method::GET, &next, None).await;
    assert_eq!(page["accounts"][0]["account"], "other");
    for (path, expected) in [
        ("/v1/operator/accounts/acme", StatusCode::OK),
        ("/v1/operator/accounts/nobody", StatusCode::NOT_FOUND),
        ("/v1/accounts/acme/retention", StatusCode::OK),
        ("/v1/accounts/acme/holds", StatusCode::OK),
        ("/v1/accounts/nobody/holds", StatusCode::NOT_FOUND),
        ("/v1/accounts/acme/records/calls", StatusCode::FORBIDDEN),
        ("/v1/accounts/acme/users", StatusCode::FORBIDDEN),
        ("/v1/accounts/acme/logs/api_access", StatusCode::FORBIDDEN),
    ] {
        assert_eq!(
            operator.send(&world, Method::GET, path, None).await.0,
            expected,
            "{path}"
        );
    }
    let (_, log) = world
        .send(
            Method::GET,
            "/v1/accounts/acme/logs/api_access",
            Some(&world.acme_officer),
            None,
        )
        .await;
    let mut seen: Vec<_> = log["entries"]
        .as_array()
        .expect("entries")
        .iter()
        .filter(|entry| entry["detail"]["user"] == user.id().to_string() && entry["detail"]["role"] == "operator")
        .map(|entry| entry["name"].as_str().expect("a name"))
        .collect();
    seen.sort_unstable();
    assert_eq!(
        seen,
        [
            "calls.list",
            "holds.list",
            "logs.list",
            "operator.account.get",
            "retention.get",
            "users.list"
        ]
    );
    // Nobody of an account is one, and an operator is nobody's user.
    let vault = world.site.open_vault("in").await.expect("a vault");
    let acme = vault.get_realm(Some(&sid("acme"))).await.expect("a realm");
    assert!(
        vault
            .invite_user(&acme, "x@example.in", None, Role::Operator, None)
            .await
            .is_err()
    );
    assert!(
        vault
            .invite_user(&realm, "x@example.in", None, Role::Owner, None)
            .await
            .is_err()
    );
    world.serving.close().await;
}
