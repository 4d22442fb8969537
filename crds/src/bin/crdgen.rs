//! Prints the CustomResourceDefinition: `make generate` keeps the published files by it.

use std::process::ExitCode;

fn main() -> ExitCode {
    match serde_saphyr::to_string(&oidcproxy_crds::schema::custom_resource_definition()) {
        Ok(yaml) => {
            print!("{yaml}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("cannot print the definition: {error}");
            ExitCode::FAILURE
        }
    }
}
