//! The page of supported fields in `docs/` is the one that the table gives.
//!
//! After a change of the table, `UPDATE_DOCS=1 cargo test -p ringway-config
//! --test support_page` writes the page anew.

use std::path::Path;

#[test]
fn the_page_is_up_to_date() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/support.md");
    let page = ringway_config::support_page();
    if std::env::var_os("UPDATE_DOCS").is_some() {
        let folder = path.parent().expect("the page lies in a folder");
        std::fs::create_dir_all(folder).expect("the folder can be made");
        std::fs::write(&path, &page).expect("the page can be written");
    }
    let written = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        written == page,
        "docs/support.md is not what the support table gives; run this test with UPDATE_DOCS=1"
    );
}
