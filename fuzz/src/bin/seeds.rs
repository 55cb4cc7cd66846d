//! Writes what each reader begins with into `corpus/`.

use mnist_wgpu_fuzz::{libfuzzer_sys as _, readers};
use std::path::Path;
use std::{fs, io};

fn main() -> io::Result<()> {
    for reader in &readers::ALL {
        let folder = Path::new("corpus").join(reader.name);
        fs::create_dir_all(&folder)?;
        for (index, bytes) in (reader.seeds)().into_iter().enumerate() {
            fs::write(folder.join(format!("seed-{index}")), bytes)?;
        }
    }
    Ok(())
}
