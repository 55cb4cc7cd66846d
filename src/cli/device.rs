//! `--device`: what it may say, and which device it means on this machine.

use super::Failure;
use super::fastest::{self, Job};
use super::output::note;
use mnist_wgpu::gpu::context::{is_software, kind};
use mnist_wgpu::gpu::{Adapters, Context, Options};
use mnist_wgpu::ops::lanes;
use mnist_wgpu::run;
use std::str::FromStr;
use wgpu::AdapterInfo;

/// What the user asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DeviceChoice {
    /// What is fastest, a hardware GPU or the CPU; where nothing is measured, a hardware GPU if there is one.
    Auto,
    Cpu,
    /// The first adapter, software rasterisers included.
    Gpu,
    /// A number of `devices`.
    Index(usize),
    /// A part of an adapter's name.
    Name(String),
}

impl FromStr for DeviceChoice {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Ok(match text.trim().to_lowercase().as_str() {
            "" => return Err("expected auto, cpu, gpu, a number or a part of a name; see `mnist-wgpu devices`".into()),
            "auto" => DeviceChoice::Auto,
            "cpu" => DeviceChoice::Cpu,
            "gpu" => DeviceChoice::Gpu,
            other => other.parse().map_or_else(|_| DeviceChoice::Name(other.into()), DeviceChoice::Index),
        })
    }
}

/// Which device: the option of `train`, `eval`, `lr-find` and `predict`.
#[derive(Clone, clap::Args)]
pub struct DeviceArguments {
    /// auto (what is fastest, measured once for a network), cpu, gpu, a number of `devices`, or a part of a device's
    /// name [default: auto]
    #[arg(long)]
    pub device: Option<DeviceChoice>,

    /// Measure the devices again, for --device auto
    #[arg(long)]
    pub remeasure: bool,
}

impl DeviceArguments {
    pub fn is_cpu(&self) -> bool {
        self.device == Some(DeviceChoice::Cpu)
    }
}

/// The device that was chosen.
#[derive(Debug, PartialEq, Eq)]
pub enum Choice {
    Cpu,
    Adapter(usize),
}

/// Which device `asked` means among the adapters `infos`, and a line that says which and why. The error says what there
/// is.
pub fn choose(asked: &DeviceChoice, infos: &[AdapterInfo]) -> Result<(Choice, String), String> {
    let cpu = |why: &str| (Choice::Cpu, cpu_line(why));
    let adapter = |index: usize, why: &str| (Choice::Adapter(index), adapter_line(&infos[index], why));
    let listed = || {
        let lines = infos.iter().enumerate().map(|(i, info)| format!("\n  {i}  {}", info.name));
        format!("there are:{}\n  cpu", lines.collect::<String>())
    };
    match asked {
        DeviceChoice::Cpu => Ok(cpu("asked for")),
        DeviceChoice::Auto => Ok(match infos.iter().position(|info| !is_software(info)) {
            Some(index) => adapter(index, &format!("{}; see --device", auto_reason(infos))),
            None if infos.is_empty() => cpu(&format!("{}; `mnist-wgpu devices` says more", auto_reason(infos))),
            None => cpu(auto_reason(infos)),
        }),
        DeviceChoice::Gpu if infos.is_empty() => Err(format!("no GPU: {}, or use `--device cpu`", Adapters::none_found())),
        DeviceChoice::Gpu => Ok(adapter(0, "asked for")),
        DeviceChoice::Index(index) if *index < infos.len() => Ok(adapter(*index, "asked for")),
        DeviceChoice::Index(index) => Err(format!("there is no device number {index}; {}", listed())),
        DeviceChoice::Name(part) => match infos.iter().position(|info| info.name.to_lowercase().contains(part)) {
            Some(index) => Ok(adapter(index, "asked for")),
            None => Err(format!("no device has `{part}` in its name; {}{}", did_you_mean(part, infos), listed())),
        },
    }
}

fn cpu_line(why: &str) -> String {
    format!("Device: the CPU, {} threads ({why})", rayon::current_num_threads())
}

fn adapter_line(info: &AdapterInfo, why: &str) -> String {
    let note = if is_software(info) { "; it computes on the CPU: --device cpu is faster" } else { "" };
    format!("Device: {} ({}, {}; {why}{note})", info.name, kind(info), info.backend)
}

/// Why `--device auto` takes what it takes, where nothing is measured.
pub fn auto_reason(infos: &[AdapterInfo]) -> &'static str {
    match infos.iter().any(|info| !is_software(info)) {
        true => "the first GPU found",
        false if infos.is_empty() => "no GPU found",
        false => "no GPU found, only a software rasteriser, which is slower",
    }
}

/// The word that `part` may be a slip of, if there is one like it.
fn did_you_mean(part: &str, infos: &[AdapterInfo]) -> String {
    let names: Vec<String> = infos.iter().map(|info| info.name.to_lowercase()).collect();
    let words = names.iter().flat_map(|name| name.split_whitespace().chain([name.as_str()])).chain(["auto", "cpu", "gpu"]);
    let alike = words
        .map(|word| (strsim::normalized_damerau_levenshtein(part, word), word))
        .filter(|(likeness, _)| *likeness > LIKE);
    match alike.max_by(|(a, _), (b, _)| a.total_cmp(b)) {
        Some((_, word)) => format!("did you mean `{word}`? "),
        None => String::new(),
    }
}

/// How alike two words are when one may be a slip of the other: two letters of three, swapped ones counted as one.
const LIKE: f64 = 0.6;

/// What [`find`] found.
pub struct Found {
    pub choice: Choice,
    /// Which device that is, and why it.
    pub line: String,
    /// None where only the CPU was asked for: no need to wake any driver.
    adapters: Option<Adapters>,
    /// The fastest is meant, once it is known what for.
    auto: bool,
}

/// Finds the device that `asked` means.
pub fn find(asked: &DeviceChoice) -> Result<Found, Failure> {
    let adapters = match asked {
        DeviceChoice::Cpu => None,
        _ => Some(pollster::block_on(Adapters::find())),
    };
    let infos: Vec<_> = adapters.iter().flat_map(Adapters::infos).collect();
    let (choice, line) = choose(asked, &infos).map_err(Failure::saying)?;
    Ok(Found { choice, line, adapters, auto: *asked == DeviceChoice::Auto })
}

impl Found {
    /// Opens the device; `None` is the CPU.
    pub fn open(&self) -> Result<Option<Context>, Failure> {
        match (&self.choice, &self.adapters) {
            (Choice::Adapter(index), Some(adapters)) => {
                Ok(Some(pollster::block_on(adapters.open(*index, Options::default()))?))
            }
            _ => Ok(None),
        }
    }

    /// Whether its dispatches can be timed.
    pub fn has_timestamps(&self) -> bool {
        match (&self.choice, &self.adapters) {
            (Choice::Adapter(index), Some(adapters)) => adapters.has_timestamps(*index),
            _ => false,
        }
    }
}

/// The GPUs among the adapters `infos`.
pub fn hardware(infos: &[AdapterInfo]) -> impl Iterator<Item = usize> {
    infos.iter().enumerate().filter(|(_, info)| !is_software(info)).map(|(index, _)| index)
}

impl DeviceArguments {
    /// Finds the device, before anything takes long.
    pub fn find(&self) -> Result<Found, Failure> {
        find(self.device.as_ref().unwrap_or(&DeviceChoice::Auto))
    }

    /// The same for a run that is taken up again: where the user names no device, the one that it was on.
    pub fn find_again(&self, before: &run::Device) -> Result<Found, Failure> {
        match self.device {
            Some(_) => self.find(),
            None => find(&device_before(before)?),
        }
    }

    /// Opens what [`DeviceArguments::find`] or `find_again` found, telling on stderr what; `None` is the CPU. `auto`
    /// takes what trains `job` fastest.
    pub fn open(&self, mut found: Found, job: &Job) -> Result<Option<Context>, Failure> {
        if let Some(adapters) = found.adapters.as_ref().filter(|_| found.auto) {
            let infos: Vec<_> = adapters.infos().collect();
            let speeds = fastest::speeds(adapters, hardware(&infos), job, self.remeasure);
            if !speeds.is_empty() {
                let why = format!("the fastest for this network: {}; see --device", fastest::line(&speeds));
                (found.choice, found.line) = match fastest::fastest(&speeds) {
                    Some(index) => (Choice::Adapter(index), adapter_line(&infos[index], &why)),
                    None => (Choice::Cpu, cpu_line(&why)),
                };
            }
        }
        note(&found.line);
        found.open()
    }
}

/// The adapter most like the one that a run was on: of the same name at least, and of the same backend and driver if
/// there is one.
fn device_before(before: &run::Device) -> Result<DeviceChoice, Failure> {
    if before.backend.is_none() {
        return Ok(DeviceChoice::Cpu);
    }
    let infos: Vec<_> = pollster::block_on(Adapters::find()).infos().collect();
    let same_name = infos.iter().enumerate().filter(|(_, info)| info.name == before.name);
    let likeness = |info: &AdapterInfo| {
        let backend = before.backend.as_ref() == Some(&info.backend.to_string());
        (backend, backend && before.driver.as_ref() == Some(&driver(info)))
    };
    match same_name.max_by_key(|(index, info)| (likeness(info), std::cmp::Reverse(*index))) {
        Some((index, _)) => Ok(DeviceChoice::Index(index)),
        None => {
            let there: Vec<_> = infos.iter().map(|info| info.name.as_str()).chain(["cpu"]).collect();
            let message = format!(
                "the run was on {}, which is not here; choose another device with `--device`: {}",
                before.name,
                there.join(", ")
            );
            Err(Failure::saying(message))
        }
    }
}

/// Its name and version.
pub fn driver(info: &AdapterInfo) -> String {
    [&*info.driver, &*info.driver_info].join(" ").trim().into()
}

/// The device as a run's folder names it; `None` is the CPU.
pub fn describe(context: Option<&Context>) -> run::Device {
    match context {
        Some(context) => run::Device {
            name: context.info.name.clone(),
            backend: Some(context.info.backend.to_string()),
            driver: Some(driver(&context.info)),
            instructions: None,
        },
        None => {
            run::Device { name: "cpu".into(), backend: None, driver: None, instructions: Some(lanes::instructions().into()) }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use wgpu::{Backend, DeviceType};

    fn info(name: &str, device_type: DeviceType) -> AdapterInfo {
        AdapterInfo { name: name.into(), ..AdapterInfo::new(device_type, Backend::Vulkan) }
    }

    fn chosen(asked: &str, infos: &[AdapterInfo]) -> Choice {
        choose(&asked.parse().unwrap(), infos).unwrap().0
    }

    #[test]
    fn auto_takes_hardware_and_never_a_software_rasteriser() {
        let (amd, lavapipe) = (info("Radeon 780M", DeviceType::IntegratedGpu), info("llvmpipe", DeviceType::Cpu));
        assert_eq!(chosen("auto", &[amd.clone(), lavapipe.clone()]), Choice::Adapter(0));
        assert_eq!(chosen("auto", std::slice::from_ref(&lavapipe)), Choice::Cpu);
        assert_eq!(chosen("auto", &[]), Choice::Cpu);
        assert_eq!(chosen("gpu", std::slice::from_ref(&lavapipe)), Choice::Adapter(0));
        let (_, line) = choose(&DeviceChoice::Gpu, &[lavapipe]).unwrap();
        assert!(line.contains("software rasteriser"), "{line}");
    }

    /// A run stays where it was begun, whatever is faster: its bits depend on it.
    #[test]
    fn a_run_taken_up_again_asks_for_no_fastest_device() {
        let infos: Vec<_> = pollster::block_on(Adapters::find()).infos().collect();
        let info = infos.first().unwrap_or_else(|| panic!("{}", Adapters::none_found()));
        let before = run::Device {
            name: info.name.clone(),
            backend: Some(info.backend.to_string()),
            driver: Some(driver(info)),
            instructions: None,
        };
        let arguments = |device| DeviceArguments { device, remeasure: false };
        let again = arguments(None).find_again(&before).ok().unwrap();
        assert_eq!((again.choice, again.auto), (Choice::Adapter(0), false));
        assert!(arguments(None).find().ok().unwrap().auto);
        assert!(arguments(Some(DeviceChoice::Auto)).find_again(&before).ok().unwrap().auto, "unless it is asked for");
        assert!(!arguments(Some(DeviceChoice::Gpu)).find().ok().unwrap().auto);
    }

    #[test]
    fn numbers_and_parts_of_names_choose() {
        let infos = [info("NVIDIA RTX 4060", DeviceType::DiscreteGpu), info("Intel Iris Xe", DeviceType::IntegratedGpu)];
        assert_eq!(chosen("1", &infos), Choice::Adapter(1));
        assert_eq!(chosen("iris", &infos), Choice::Adapter(1));
        assert_eq!(chosen("rtx 4060", &infos), Choice::Adapter(0));
        // A number is never a part of a name: in "llvmpipe (LLVM 15.0.6, 256 bits)" there are many.
        for number in ["2", "4060"] {
            let error = choose(&number.parse().unwrap(), &infos).unwrap_err();
            assert!(error.contains(number) && error.contains("1  Intel Iris Xe"), "{error}");
        }
        assert_eq!(chosen("CPU", &infos), Choice::Cpu);
    }

    #[test]
    fn a_slip_is_told_the_name_it_is_like() {
        let infos = [info("NVIDIA GeForce RTX 4060", DeviceType::DiscreteGpu), info("llvmpipe (LLVM 15)", DeviceType::Cpu)];
        for (asked, meant) in [("llvnpipe", "`llvmpipe`"), ("nvida", "`nvidia`"), ("gefroce", "`geforce`"), ("gup", "`gpu`")]
        {
            let error = choose(&asked.parse().unwrap(), &infos).unwrap_err();
            assert!(error.contains(&format!("did you mean {meant}?")), "{error}");
        }
        let error = choose(&"voodoo".parse().unwrap(), &infos).unwrap_err();
        assert!(!error.contains("did you mean"), "{error}");
    }

    #[test]
    fn an_unknown_device_is_an_error_that_lists_what_there_is() {
        let infos = [info("NVIDIA RTX 4060", DeviceType::DiscreteGpu)];
        for asked in ["7", "radeon"] {
            let error = choose(&asked.parse().unwrap(), &infos).unwrap_err();
            assert!(error.contains(asked) && error.contains("NVIDIA RTX 4060"), "{error}");
        }
        let error = choose(&DeviceChoice::Gpu, &[]).unwrap_err();
        assert!(error.contains("--device cpu"), "{error}");
    }
}
