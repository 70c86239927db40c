//! One suite for every provider, and what is particular to each.

use std::{
    fs,
    os::unix::fs::{MetadataExt, PermissionsExt},
    path::{Path, PathBuf},
    process::Command,
    thread,
};

use tempfile::TempDir;

use super::*;

const PASSPHRASE: &[u8] = b"correct horse battery staple";
const PIN: &str = "4711";

/// What every provider must do. `open` opens the same store again, as another process would.
fn conforms<P: KeyProvider>(open: impl Fn() -> P + Sync) {
    let provider = open();
    wraps_and_unwraps(&provider);
    epochs_come_and_go(&provider, &open());
    log_size_only_grows(&provider, &open());
    processes_lose_no_update(&open);
}

fn wraps_and_unwraps(provider: &impl KeyProvider) {
    provider.create_epoch_root(1).unwrap();
    provider.create_epoch_root(2).unwrap();
    for root in [Root::Permanent, Root::Epoch(1)] {
        for secret in [&b""[..], &[7; 32], &[8; 100]] {
            let wrapped = provider.wrap(root, b"context", secret).unwrap();
            assert_eq!(wrapped.len(), secret.len() + 29);
            assert_eq!(*provider.unwrap(root, b"context", &wrapped).unwrap(), secret);
            assert!(matches!(
                provider.unwrap(root, b"other", &wrapped),
                Err(ProviderError::Refused(_))
            ));
            assert!(matches!(
                provider.unwrap(Root::Epoch(2), b"context", &wrapped),
                Err(ProviderError::Refused(_))
            ));
            for at in 0..wrapped.len() {
                let mut bad = wrapped.clone();
                bad[at] ^= 1;
                let opened = provider.unwrap(root, b"context", &bad);
                assert!(
                    matches!(opened, Err(ProviderError::Refused(_))),
                    "byte {at}: {opened:?}"
                );
                assert!(matches!(
                    provider.unwrap(root, b"context", &wrapped[..at]),
                    Err(ProviderError::Refused(_))
                ));
            }
            assert_ne!(wrapped, provider.wrap(root, b"context", secret).unwrap());
        }
    }
    let unknown = ProviderError::UnknownEpoch(77);
    assert_eq!(provider.wrap(Root::Epoch(77), b"", b"x").unwrap_err(), unknown);
    assert_eq!(provider.unwrap(Root::Epoch(77), b"", &[1; 61]).unwrap_err(), unknown);
}

fn epochs_come_and_go(provider: &impl KeyProvider, other: &impl KeyProvider) {
    provider.create_epoch_root(10).unwrap();
    let wrapped = provider.wrap(Root::Epoch(10), b"", b"secret").unwrap();
    other.create_epoch_root(10).unwrap();
    assert_eq!(
        *other.unwrap(Root::Epoch(10), b"", &wrapped).unwrap(),
        b"secret",
        "creating again changes nothing"
    );
    assert_eq!(other.list_epoch_roots().unwrap(), [1, 2, 10]);

    provider.destroy_epoch_root(10).unwrap();
    provider.destroy_epoch_root(10).unwrap();
    provider.destroy_epoch_root(12_345).unwrap();
    assert_eq!(other.list_epoch_roots().unwrap(), [1, 2]);
    assert_eq!(
        other.unwrap(Root::Epoch(10), b"", &wrapped).unwrap_err(),
        ProviderError::UnknownEpoch(10)
    );
    assert_eq!(
        other.wrap(Root::Epoch(10), b"", b"x").unwrap_err(),
        ProviderError::UnknownEpoch(10)
    );
    // The other one knew the root; what it writes now must not bring it back.
    other.create_epoch_root(11).unwrap();
    other.note_log_size(1).unwrap();
    assert_eq!(provider.list_epoch_roots().unwrap(), [1, 2, 11]);
    assert!(provider.unwrap(Root::Epoch(10), b"", &wrapped).is_err());
    other.create_epoch_root(10).unwrap();
    assert!(
        matches!(
            other.unwrap(Root::Epoch(10), b"", &wrapped),
            Err(ProviderError::Refused(_))
        ),
        "a new root"
    );
}

fn log_size_only_grows(provider: &impl KeyProvider, other: &impl KeyProvider) {
    for (noted, known) in [(5, 5), (3, 5), (0, 5), (u64::MAX / 2, u64::MAX / 2), (6, u64::MAX / 2)] {
        provider.note_log_size(noted).unwrap();
        assert_eq!(provider.log_size().unwrap(), known);
        assert_eq!(other.log_size().unwrap(), known);
    }
}

fn processes_lose_no_update<P: KeyProvider>(open: &(impl Fn() -> P + Sync)) {
    thread::scope(|scope| {
        for worker in 0..4_u64 {
            scope.spawn(move || {
                let provider = open();
                for n in 0..5 {
                    provider.create_epoch_root(1_000 + worker * 10 + n).unwrap();
                }
                provider.destroy_epoch_root(1_000 + worker * 10).unwrap();
            });
        }
    });
    let left: Vec<u64> = open()
        .list_epoch_roots()
        .unwrap()
        .into_iter()
        .filter(|epoch| *epoch >= 1_000)
        .collect();
    let expected: Vec<u64> = (0..4)
        .flat_map(|worker| (1..5).map(move |n| 1_000 + worker * 10 + n))
        .collect();
    assert_eq!(left, expected);
}

fn key_file() -> (TempDir, PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("root.keys");
    SealedFile::create(&path, PASSPHRASE, PassphraseCost::TEST).unwrap();
    (dir, path)
}

#[test]
fn sealed_file_conforms() {
    let (_dir, path) = key_file();
    assert_eq!(SealedFile::open(&path, PASSPHRASE).unwrap().log_size().unwrap(), 0);
    conforms(|| SealedFile::open(&path, PASSPHRASE).unwrap());
}

#[test]
fn sealed_file_tells_damage_from_a_wrong_passphrase() {
    let (_dir, path) = key_file();
    assert_eq!(
        SealedFile::open(&path, b"wrong").unwrap_err(),
        ProviderError::WrongPassphrase
    );
    let good = fs::read(&path).unwrap();
    for at in 0..good.len() {
        let mut bad = good.clone();
        bad[at] ^= 0x40;
        fs::write(&path, &bad).unwrap();
        assert!(
            matches!(SealedFile::open(&path, PASSPHRASE), Err(ProviderError::Damaged(_))),
            "byte {at}"
        );
        fs::write(&path, &good[..at]).unwrap();
        assert!(
            matches!(SealedFile::open(&path, PASSPHRASE), Err(ProviderError::Damaged(_))),
            "cut at {at}"
        );
    }
    fs::write(&path, &good).unwrap();
    SealedFile::open(&path, PASSPHRASE).unwrap();
    assert!(matches!(
        SealedFile::create(&path, b"x", PassphraseCost::TEST),
        Err(ProviderError::Refused(_))
    ));
    assert!(matches!(
        SealedFile::open(&path.join("none"), b"x"),
        Err(ProviderError::Unavailable(_))
    ));
}

#[test]
fn sealed_file_is_private_and_leaves_nothing_beside_it() {
    let (dir, path) = key_file();
    let provider = SealedFile::open(&path, PASSPHRASE).unwrap();
    fs::write(dir.path().join("root.keys.tmp"), b"left by a crash").unwrap();
    provider.create_epoch_root(1).unwrap();
    assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
    let mut names: Vec<_> = fs::read_dir(dir.path())
        .unwrap()
        .map(|entry| entry.unwrap().file_name())
        .collect();
    names.sort();
    assert_eq!(names, ["root.keys", "root.keys.lock"]);
    fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
    assert!(matches!(provider.list_epoch_roots(), Err(ProviderError::Refused(_))));
}

#[test]
fn sealed_file_overwrites_what_it_replaces() {
    let (dir, path) = key_file();
    let provider = SealedFile::open(&path, PASSPHRASE).unwrap();
    // A hard link keeps the old file visible after it was replaced.
    let old = dir.path().join("old");
    fs::hard_link(&path, &old).unwrap();
    provider.create_epoch_root(1).unwrap();
    assert!(fs::read(&old).unwrap().iter().all(|byte| *byte == 0));
    assert_eq!(provider.list_epoch_roots().unwrap(), [1]);
}

#[test]
fn sealed_file_takes_a_new_passphrase() {
    let (_dir, path) = key_file();
    let (stale, provider) = (
        SealedFile::open(&path, PASSPHRASE).unwrap(),
        SealedFile::open(&path, PASSPHRASE).unwrap(),
    );
    let wrapped = provider.wrap(Root::Permanent, b"", b"secret").unwrap();
    let provider = provider.change_passphrase(b"new", PassphraseCost::TEST).unwrap();
    assert_eq!(*provider.unwrap(Root::Permanent, b"", &wrapped).unwrap(), b"secret");
    assert_eq!(
        *SealedFile::open(&path, b"new")
            .unwrap()
            .unwrap(Root::Permanent, b"", &wrapped)
            .unwrap(),
        b"secret"
    );
    assert_eq!(
        SealedFile::open(&path, PASSPHRASE).unwrap_err(),
        ProviderError::WrongPassphrase
    );
    assert_eq!(stale.create_epoch_root(5).unwrap_err(), ProviderError::WrongPassphrase);
}

#[test]
fn sealed_file_default_cost_is_that_of_the_rfc() {
    assert_eq!(
        PassphraseCost::default(),
        PassphraseCost {
            memory_kib: 65_536,
            passes: 3,
            lanes: 1
        }
    );
    let dir = tempfile::tempdir().unwrap();
    let endless = PassphraseCost {
        memory_kib: u32::MAX,
        passes: 1,
        lanes: 1,
    };
    let refused = SealedFile::create(&dir.path().join("k"), PASSPHRASE, endless);
    assert!(matches!(refused, Err(ProviderError::Refused(_))));
}

const CHILD: &str = "CALLVAULT_TEST_TOKEN_CHILD";

/// SoftHSM reads its configuration from the environment when it is loaded, so each token test runs in a child
/// process with a token directory of its own.
fn in_child_with_token(test: &str, body: impl FnOnce(&Path)) {
    let module = find_pkcs11_module().expect("SoftHSM 2 must be installed: package softhsm2");
    if std::env::var_os(CHILD).is_some() {
        return body(&module);
    }
    let dir = tempfile::tempdir().unwrap();
    let config = dir.path().join("softhsm2.conf");
    fs::create_dir(dir.path().join("tokens")).unwrap();
    let tokens = dir.path().join("tokens");
    fs::write(
        &config,
        format!(
            "directories.tokendir = {}\nobjectstore.backend = file\n",
            tokens.display()
        ),
    )
    .unwrap();
    let made = Command::new("softhsm2-util")
        .args([
            "--init-token",
            "--free",
            "--label",
            "callvault",
            "--pin",
            PIN,
            "--so-pin",
            "4712",
        ])
        .env("SOFTHSM2_CONF", &config)
        .output()
        .expect("softhsm2-util must be installed");
    assert!(made.status.success(), "{made:?}");
    let run = Command::new(std::env::current_exe().unwrap())
        .args([&format!("provider::tests::{test}"), "--exact", "--nocapture"])
        .env("SOFTHSM2_CONF", &config)
        .env(CHILD, "1")
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&run.stdout);
    assert!(
        run.status.success() && text.contains("1 passed"),
        "{text}\n{}",
        String::from_utf8_lossy(&run.stderr)
    );
}

fn token(module: &Path, region: &str, pin: &str) -> Result<Pkcs11, ProviderError> {
    Pkcs11::open(Pkcs11Settings {
        module: module.to_owned(),
        token_label: "callvault".to_owned(),
        pin: Zeroizing::new(pin.to_owned()),
        region: region.to_owned(),
    })
}

#[test]
fn pkcs11_conforms() {
    in_child_with_token("pkcs11_conforms", |module| {
        // Another region's keys on the same token are out of sight.
        let sg = token(module, "sg", PIN).unwrap();
        sg.create_epoch_root(999).unwrap();
        sg.note_log_size(4).unwrap();
        conforms(|| token(module, "in", PIN).unwrap());
        assert_eq!(sg.list_epoch_roots().unwrap(), [999]);
        assert_eq!(sg.log_size().unwrap(), 4);
    });
}

#[test]
fn pkcs11_failures() {
    in_child_with_token("pkcs11_failures", |module| {
        assert_eq!(token(module, "in", "0000").unwrap_err(), ProviderError::WrongPassphrase);
        assert!(matches!(
            token(Path::new("/nowhere.so"), "in", PIN),
            Err(ProviderError::Unavailable(_))
        ));
        let provider = token(module, "in", PIN).unwrap();
        let elsewhere = Pkcs11Settings {
            token_label: "other".to_owned(),
            ..provider_settings(module)
        };
        assert!(matches!(Pkcs11::open(elsewhere), Err(ProviderError::Unavailable(_))));
        assert_eq!(provider.kind(), "pkcs11");
    });
}

fn provider_settings(module: &Path) -> Pkcs11Settings {
    Pkcs11Settings {
        module: module.to_owned(),
        token_label: "callvault".to_owned(),
        pin: Zeroizing::new(PIN.to_owned()),
        region: "in".to_owned(),
    }
}

/// The keys as the token itself describes them.
#[test]
fn pkcs11_keys_never_leave_the_token() {
    use cryptoki::{
        context::Pkcs11 as Module,
        object::{Attribute, AttributeType, ObjectClass},
        session::UserType,
        types::AuthPin,
    };

    in_child_with_token("pkcs11_keys_never_leave_the_token", |path| {
        let provider = token(path, "in", PIN).unwrap();
        provider.create_epoch_root(3).unwrap();
        let module = Module::new(path).unwrap();
        let session = module
            .open_ro_session(module.get_slots_with_token().unwrap()[0])
            .unwrap();
        let _ = session.login(UserType::User, Some(&AuthPin::from(PIN.to_owned())));
        let keys = session
            .find_objects(&[Attribute::Class(ObjectClass::SECRET_KEY)])
            .unwrap();
        let mut labels = Vec::new();
        for key in keys {
            use AttributeType as T;
            let kinds = [T::Label, T::Sensitive, T::NeverExtractable, T::Extractable, T::Local];
            for attribute in session.get_attributes(key, &kinds).unwrap() {
                match attribute {
                    Attribute::Label(label) => labels.push(String::from_utf8(label).unwrap()),
                    Attribute::Extractable(extractable) => assert!(!extractable),
                    Attribute::Sensitive(yes) | Attribute::NeverExtractable(yes) | Attribute::Local(yes) => {
                        assert!(yes)
                    }
                    other => panic!("{other:?}"),
                }
            }
            let value = session.get_attributes(key, &[T::Value]).unwrap();
            assert!(value.is_empty(), "the token gives the key away");
        }
        labels.sort();
        assert_eq!(labels, ["callvault/in/epoch/3", "callvault/in/root"]);
    });
}
