//! Every catalog passes the same suite.

mod sqlite {
    callvault_testkit::catalog_suite!(callvault_testkit::conformance::backends::SqliteFile);
}

mod postgres {
    callvault_testkit::catalog_suite!(callvault_testkit::conformance::backends::PostgresDatabase);
}
