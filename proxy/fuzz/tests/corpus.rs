//! Every first input of every target, replayed.

use std::{fs, path::Path};

#[test]
fn the_corpus_holds() {
    for (target, _) in oidcproxy_fuzz::TARGETS {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("corpus")
            .join(target);
        let inputs = fs::read_dir(folder).expect("a folder of inputs");
        let mut count = 0;
        for input in inputs {
            let path = input.expect("a file").path();
            println!("{}", path.display());
            oidcproxy_fuzz::run(target, &fs::read(&path).expect("readable"));
            count += 1;
        }
        assert!(count >= 3, "{target} has {count} inputs");
    }
}
