//! `devices`: what --device can choose.

use super::device::{Choice, DeviceChoice, choose};
use super::{Failure, print, tell};
use mnist_wgpu::gpu::Adapters;
use mnist_wgpu::gpu::context::kind;

pub fn run() -> Result<(), Failure> {
    let adapters = pollster::block_on(Adapters::find());
    let infos: Vec<_> = adapters.infos().collect();
    let (auto, _) = choose(&DeviceChoice::Auto, &infos).map_err(|message| Failure::Failed(message.into()))?;
    let mark = |choice| if auto == choice { "  <- auto" } else { "" };

    let mut text = String::new();
    for (index, info) in infos.iter().enumerate() {
        let driver = [info.driver.as_str(), info.driver_info.as_str()].join(" ");
        let mark = mark(Choice::Adapter(index));
        text += &format!("{index:>3}  {}\n     {}, {}, {}{mark}\n", info.name, kind(info), info.backend, driver.trim());
    }
    let threads = rayon::current_num_threads();
    text += &format!("cpu  this program's CPU path, {threads} threads{}\n", mark(Choice::Cpu));
    print(&text)?;
    if infos.is_empty() {
        tell(format_args!("No GPU: {}.", Adapters::none_found()));
    }
    Ok(())
}
