//! Every object store passes the same suite.

mod files {
    callvault_testkit::objects_suite!(callvault_testkit::conformance::backends::Folder);
}

mod s3 {
    callvault_testkit::objects_suite!(callvault_testkit::conformance::backends::Bucket);
}
