//! Gives the shared library its soname: libdiamonddb.so.0.MINOR until 1.0, libdiamonddb.so.MAJOR from then on.

fn main() {
    let [major, minor] = ["MAJOR", "MINOR"].map(|part| {
        std::env::var(format!("CARGO_PKG_VERSION_{part}")).expect("cargo tells a build script the version")
    });
    let version = if major == "0" { format!("0.{minor}") } else { major };
    println!("cargo:rustc-cdylib-link-arg=-Wl,-soname,libdiamonddb.so.{version}");
    println!("cargo:rerun-if-changed=build.rs");
}
