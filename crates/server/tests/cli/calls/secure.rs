//! Calls whose media and signalling are encrypted, with telephones that have their own way of doing it.

use serde_json::json;

use super::{
    caller::CALLER,
    office::{Office, REPLY, SENTENCE, loudest, sounds, speech, through_a_law},
};

pub(super) fn nothing_is_said_in_the_clear_where_tls_is_required() {
    let office = Office::encrypted("agent.example");
    let errors = office.refused(CALLER, "08049501234");
    assert!(errors.contains("SIP/2.0 403"), "{errors}");
    let after_ms = office.announcement.len() / 8 + office.question.len() / 8 + 4_000;
    let target = format!("sip:08049501234@127.0.0.1:{};transport=tls", office.tls);
    let heard = office.phone(";mediaenc=srtp-mand", &target, after_ms, 20);
    assert!(sounds(&loudest(&office.announcement), &heard), "the announcement");
    let reply = through_a_law(&speech(REPLY));
    assert!(sounds(&loudest(&reply), &heard), "the agent");
    let call = office.record();
    assert_eq!(call["status"], "completed", "{call}");
    assert!(call["extra"].get("failed").is_none(), "{call}");
    let [_, customer] = office.audio(call["extra"]["recording"].as_str().expect("a recording"));
    assert!(
        sounds(&loudest(&through_a_law(&speech(SENTENCE))), &customer),
        "the customer"
    );
    office.close();
}

pub(super) fn a_proxy_with_another_certificate_is_not_called() {
    let office = Office::encrypted("other.example");
    let target = format!("sip:08049501234@127.0.0.1:{};transport=tls", office.tls);
    office.phone(";mediaenc=srtp-mand", &target, 0, 14);
    let call = office.record();
    assert_eq!(call["status"], "completed", "{call}");
    assert!(call["extra"].get("connected_to").is_none(), "{call}");
    let agent = std::fs::read_to_string(office.place.path("agent/log")).expect("a log");
    assert!(!agent.contains("Call established"), "{agent}");
    office.close();
}

pub(super) fn media_are_encrypted_on_both_legs_or_there_is_no_call() {
    let office = Office::with_agent("srtp = \"required\"", ";mediaenc=srtp-mand");
    office.answer(json!({ "name": "Secure", "start": "greet", "applets": {
        "greet": { "kind": "greeting", "next": "agent" },
        "agent": { "kind": "connect", "numbers": ["agent"], "record": true, "channels": "dual", "ring_s": 10 },
    } }));
    // Who offers none is refused.
    let errors = office.refused(CALLER, "08049501234");
    assert!(errors.contains("SIP/2.0 488"), "{errors}");
    let after_ms = office.announcement.len() / 8 + 3_000;
    let target = format!("sip:08049501234@127.0.0.1:{}", office.sip);
    let heard = office.phone(";mediaenc=srtp-mand", &target, after_ms, 16);
    assert!(sounds(&loudest(&office.announcement), &heard), "the announcement");
    let reply = through_a_law(&speech(REPLY));
    assert!(sounds(&loudest(&reply), &heard), "the agent");
    let call = office.record();
    assert_eq!(call["status"], "completed", "{call}");
    let [agent, customer] = office.audio(call["extra"]["recording"].as_str().expect("a recording"));
    assert!(sounds(&loudest(&reply), &agent), "the agent, decrypted");
    assert!(
        sounds(&loudest(&through_a_law(&speech(SENTENCE))), &customer),
        "the customer, decrypted"
    );
    office.close();
}
