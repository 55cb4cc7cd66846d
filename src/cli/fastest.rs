//! What `--device auto` takes: what trains a network fastest on this machine. That is measured once, and remembered for
//! as long as nothing changes that it depends on.

use super::device::driver;
use super::stopwatch;
use super::version::version;
use mnist_wgpu::data::{Dataset, Images};
use mnist_wgpu::engine::{CpuEngine, EngineError, GpuEngine, Settings};
use mnist_wgpu::files;
use mnist_wgpu::gpu::{Adapters, Context, Options, drive};
use mnist_wgpu::layers;
use mnist_wgpu::model::Model;
use mnist_wgpu::ops::lanes;
use mnist_wgpu::sources;
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// How long each device trains.
const LENGTH: Duration = Duration::from_millis(200);
/// Batches that it trains with, and the most bytes of images, if one batch is no more.
const BATCHES: usize = 32;
const MOST_BYTES: usize = 32 << 20;
/// Measurements that are remembered.
const MOST_KEPT: usize = 100;

/// What is to be trained.
pub struct Job<'a> {
    pub model: &'a Model,
    pub settings: Settings,
}

/// A device that was measured.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Speed {
    /// The number of the adapter; none is the CPU.
    pub adapter: Option<usize>,
    /// Its name, of the CPU with the threads.
    pub name: String,
    /// A step of training; none if it cannot train the network.
    pub ms_per_step: Option<f64>,
}

/// What a measurement depends on.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Circumstances {
    program: String,
    layers: String,
    shape: [usize; 3],
    batch_size: usize,
    threads: usize,
    instructions: String,
    /// Number, name, backend and driver of each.
    adapters: Vec<(usize, String, String, String)>,
}

#[derive(Clone, Serialize, Deserialize)]
struct Measurement {
    circumstances: Circumstances,
    speeds: Vec<Speed>,
}

/// What was measured before, the oldest first.
#[derive(Default, Serialize, Deserialize)]
struct Memory {
    measurements: Vec<Measurement>,
}

/// The devices that `auto` may take, the CPU last: of `candidates` among the adapters the first of each name, since one
/// GPU may have several drivers.
struct Candidates<'a> {
    adapters: &'a Adapters,
    numbers: Vec<usize>,
    /// Where measurements are kept, if anywhere.
    memory: Option<PathBuf>,
}

impl<'a> Candidates<'a> {
    fn new(adapters: &'a Adapters, candidates: impl IntoIterator<Item = usize>, cache: Option<&Path>) -> Self {
        let names: Vec<String> = adapters.infos().map(|info| info.name).collect();
        let mut numbers: Vec<usize> = Vec::new();
        for number in candidates {
            if !numbers.iter().any(|&known| names[known] == names[number]) {
                numbers.push(number);
            }
        }
        Self { adapters, numbers, memory: cache.map(|cache| cache.join("devices.json")) }
    }

    /// How fast each is, from memory or measured now. `again` measures in any case.
    fn speeds(&self, job: &Job, again: bool) -> Vec<Speed> {
        let circumstances = self.circumstances(job);
        let mut memory = self.recall();
        // The file may have been written by anybody: of devices that are not here nobody can train.
        let is_here = |speed: &Speed| speed.adapter.is_none_or(|number| self.numbers.contains(&number));
        let fits = |known: &Measurement| known.circumstances == circumstances && known.speeds.iter().all(is_here);
        let known = memory.measurements.iter().position(fits);
        if let (Some(known), false) = (known, again) {
            return memory.measurements[known].speeds.clone();
        }
        let speeds = self.measure(job);
        memory.measurements.retain(|known| known.circumstances != circumstances);
        memory.measurements.push(Measurement { circumstances, speeds: speeds.clone() });
        let superfluous = memory.measurements.len().saturating_sub(MOST_KEPT);
        memory.measurements.drain(..superfluous);
        self.keep(&memory);
        speeds
    }

    fn circumstances(&self, job: &Job) -> Circumstances {
        let infos: Vec<_> = self.adapters.infos().collect();
        let adapter = |&number: &usize| {
            let info = &infos[number];
            (number, info.name.clone(), info.backend.to_string(), driver(info))
        };
        Circumstances {
            program: version().into(),
            layers: layers::text(job.model.layers()),
            shape: job.model.shapes()[0].image().unwrap_or_default(), // a model begins with an image
            batch_size: job.settings.batch_size,
            threads: rayon::current_num_threads(),
            instructions: lanes::instructions().into(),
            adapters: self.numbers.iter().map(adapter).collect(),
        }
    }

    /// What cannot be read is as good as nothing: it is measured anew.
    fn recall(&self) -> Memory {
        let text = self.memory.as_ref().and_then(|path| files::read(path, files::LARGEST_TEXT).ok());
        text.and_then(|text| serde_json::from_slice(&text).ok()).unwrap_or_default()
    }

    fn keep(&self, memory: &Memory) {
        let Some(path) = &self.memory else { return };
        let written = serde_json::to_vec_pretty(memory).map_err(std::io::Error::from).and_then(|text| {
            path.parent().map_or(Ok(()), std::fs::create_dir_all)?;
            files::replace(path, &text)
        });
        if let Err(error) = written {
            log::info!("{}: the devices' speeds are not remembered: {error}", path.display());
        }
    }

    fn measure(&self, job: &Job) -> Vec<Speed> {
        let data = noise(job);
        let infos: Vec<_> = self.adapters.infos().collect();
        let of_adapter = |&number: &usize| {
            let time = || -> Result<f64, EngineError> {
                let context = pollster::block_on(self.adapters.open(number, Options::default()))?;
                on_gpu(&context, job, &data)
            };
            Speed { adapter: Some(number), name: infos[number].name.clone(), ms_per_step: told(time()) }
        };
        let mut speeds: Vec<Speed> = self.numbers.iter().map(of_adapter).collect();
        let name = format!("CPU, {} threads", rayon::current_num_threads());
        speeds.push(Speed { adapter: None, name, ms_per_step: told(on_cpu(job, &data)) });
        speeds
    }
}

/// How fast `job` is trained on each of the `candidates` among the adapters and on the CPU, by what the user's cache
/// remembers or measured now; nothing where there is no choice.
pub fn speeds(adapters: &Adapters, candidates: impl IntoIterator<Item = usize>, job: &Job, again: bool) -> Vec<Speed> {
    let candidates = Candidates::new(adapters, candidates, sources::cache_dir().as_deref());
    if candidates.numbers.is_empty() { Vec::new() } else { candidates.speeds(job, again) }
}

/// The fastest, which the CPU is where nothing else can train.
pub fn fastest(speeds: &[Speed]) -> Option<usize> {
    let able = speeds.iter().filter_map(|speed| Some((speed.adapter, speed.ms_per_step?)));
    able.min_by(|(_, a), (_, b)| a.total_cmp(b)).and_then(|(adapter, _)| adapter)
}

/// `Intel Iris Xe: 1.9 ms a step; CPU, 8 threads: 0.6 ms`, the fastest first.
pub fn line(speeds: &[Speed]) -> String {
    let mut speeds: Vec<&Speed> = speeds.iter().collect();
    speeds.sort_by(|a, b| a.ms_per_step.unwrap_or(f64::INFINITY).total_cmp(&b.ms_per_step.unwrap_or(f64::INFINITY)));
    let told = speeds.iter().enumerate().map(|(place, Speed { name, ms_per_step, .. })| match ms_per_step {
        Some(ms) => format!("{name}: {} ms{}", rounded(*ms), if place == 0 { " a step" } else { "" }),
        None => format!("{name} cannot train it"),
    });
    told.collect::<Vec<_>>().join("; ")
}

/// With two digits, or all of a whole number.
fn rounded(ms: f64) -> String {
    let digits = (1.0 - ms.max(1e-3).log10().floor()).clamp(0.0, 3.0) as usize;
    format!("{ms:.digits$}")
}

fn told(time: Result<f64, EngineError>) -> Option<f64> {
    time.inspect_err(|error| log::info!("a device is passed over: {error}")).ok()
}

fn on_gpu(context: &Context, job: &Job, data: &Dataset) -> Result<f64, EngineError> {
    let mut engine = GpuEngine::new(context, job.model, data, job.settings)?;
    let batch_size = job.settings.batch_size;
    let timed = stopwatch::time(&mut engine, job.model, data.train.len(), batch_size, LENGTH);
    Ok(least(drive::block_on(context, timed)?))
}

fn on_cpu(job: &Job, data: &Dataset) -> Result<f64, EngineError> {
    let mut engine = CpuEngine::new(job.model, data, job.settings)?;
    let batch_size = job.settings.batch_size;
    Ok(least(pollster::block_on(stopwatch::time(&mut engine, job.model, data.train.len(), batch_size, LENGTH))?))
}

fn least(timed: stopwatch::Timed) -> f64 {
    timed.ms_per_step.into_iter().fold(f64::INFINITY, f64::min)
}

/// Images to train with, all of one class: a step takes the same whatever is in them.
fn noise(job: &Job) -> Dataset {
    let shape = job.model.shapes()[0].image().unwrap_or_default(); // a model begins with an image
    let (batch_size, pixels) = (job.settings.batch_size, shape.iter().product::<usize>());
    let batches = (MOST_BYTES / (batch_size * pixels)).clamp(1, BATCHES);
    let images = batches * batch_size;
    let bytes = (0..images * pixels).map(|i| ((i as u32).wrapping_mul(0x9e37_79b9) >> 24) as u8);
    let classes = (0..job.model.classes()).map(|class| class.to_string()).collect();
    Dataset { shape, classes, train: Images { pixels: bytes.collect(), labels: vec![0; images] }, test: Images::default() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn speed(adapter: Option<usize>, name: &str, ms_per_step: Option<f64>) -> Speed {
        Speed { adapter, name: name.into(), ms_per_step }
    }

    #[test]
    fn the_fastest_is_taken_and_what_cannot_train_is_not() {
        let (cpu, gpu) = (speed(None, "CPU, 8 threads", Some(0.6)), speed(Some(1), "Iris Xe", Some(1.94)));
        let speeds = [gpu.clone(), cpu.clone()];
        assert_eq!(fastest(&speeds), None);
        assert_eq!(line(&speeds), "CPU, 8 threads: 0.60 ms a step; Iris Xe: 1.9 ms");
        let slow = speed(None, "CPU, 2 threads", Some(123.4));
        let broken = speed(Some(0), "old", None);
        let speeds = [broken.clone(), gpu, slow];
        assert_eq!(fastest(&speeds), Some(1));
        assert_eq!(line(&speeds), "Iris Xe: 1.9 ms a step; CPU, 2 threads: 123 ms; old cannot train it");
        assert_eq!((fastest(&[broken.clone(), cpu]), fastest(&[broken])), (None, None));
        assert_eq!(fastest(&[]), None);
    }

    /// The adapters of this machine, which need not be hardware here.
    fn adapters() -> Adapters {
        let adapters = pollster::block_on(Adapters::find());
        assert!(!adapters.is_empty(), "{}", Adapters::none_found());
        adapters
    }

    fn model(text: &str) -> Model {
        Model::new([1, 28, 28], layers::parse(text, 10).unwrap(), 10).unwrap()
    }

    /// Memory that can be told from a measurement.
    const MADE_UP: f64 = 1e-9;

    #[test]
    fn it_is_measured_once_and_remembered_until_something_changes() {
        let adapters = adapters();
        let cache = tempfile::tempdir().unwrap();
        let candidates = Candidates::new(&adapters, [0, 0], Some(cache.path()));
        assert_eq!(candidates.numbers, [0], "one GPU with two drivers is measured once");
        let small = model("conv 4 3, relu, pool 4, linear");
        let settings = Settings { batch_size: 8, ..Settings::default() };
        let job = Job { model: &small, settings };
        let speeds = candidates.speeds(&job, false);
        assert_eq!(Vec::from_iter(speeds.iter().map(|speed| speed.adapter)), [Some(0), None]);
        assert!(speeds.iter().all(|speed| speed.ms_per_step.is_some_and(|ms| ms > 1e-4 && ms < 1e4)), "{speeds:?}");

        // As if the GPU had been much faster: what is remembered decides.
        let path = cache.path().join("devices.json");
        let mut memory: Memory = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
        memory.measurements[0].speeds[0].ms_per_step = Some(MADE_UP);
        std::fs::write(&path, serde_json::to_vec(&memory).unwrap()).unwrap();
        assert_eq!(candidates.speeds(&job, false)[0].ms_per_step, Some(MADE_UP));
        assert_eq!(fastest(&candidates.speeds(&job, false)), Some(0));

        let measured = |candidates: &Candidates, job: &Job, again| {
            let speeds = candidates.speeds(job, again);
            assert!(speeds.last().unwrap().ms_per_step.is_some());
            speeds[0].ms_per_step != Some(MADE_UP)
        };
        let other = model("conv 5 3, relu, pool 4, linear");
        assert!(measured(&candidates, &Job { model: &other, settings }, false), "another network");
        let larger = Settings { batch_size: 9, ..settings };
        assert!(measured(&candidates, &Job { model: &small, settings: larger }, false), "another batch size");
        let fewer = Candidates::new(&adapters, [], Some(cache.path()));
        assert!(measured(&fewer, &job, false), "other devices");
        assert_eq!(candidates.speeds(&job, false)[0].ms_per_step, Some(MADE_UP), "the others were added");
        assert!(measured(&candidates, &job, true), "asked to measure again");
        assert!(measured(&candidates, &job, false), "and that is remembered in its place");

        memory.measurements[0].speeds[0].adapter = Some(7);
        std::fs::write(&path, serde_json::to_vec(&memory).unwrap()).unwrap();
        assert!(measured(&candidates, &job, false), "what was measured of a device that is not here");
        for broken in ["", "{}", "{\"measurements\": [{}]}", "\u{0}"] {
            std::fs::write(&path, broken).unwrap();
            assert!(measured(&candidates, &job, false), "{broken:?}");
        }
        let nowhere = Candidates::new(&adapters, [0], Some(&path)); // a file where a folder should be
        assert!(measured(&nowhere, &job, false));
        assert!(measured(&Candidates::new(&adapters, [0], None), &job, false));
    }

    #[test]
    fn no_more_is_kept_than_is_of_use() {
        let cache = tempfile::tempdir().unwrap();
        let adapters = adapters();
        let candidates = Candidates::new(&adapters, [], Some(cache.path()));
        let small = model("pool 14, linear");
        let settings = Settings { batch_size: 1, ..Settings::default() };
        let job = Job { model: &small, settings };
        candidates.speeds(&job, false);
        let mut memory = candidates.recall();
        let one = memory.measurements[0].clone();
        memory.measurements = (0..MOST_KEPT)
            .map(|i| Measurement {
                circumstances: Circumstances { batch_size: 1000 + i, ..one.circumstances.clone() },
                ..one.clone()
            })
            .collect();
        candidates.keep(&memory);
        candidates.speeds(&job, false);
        let kept = candidates.recall().measurements;
        assert_eq!((kept.len(), kept[0].circumstances.batch_size), (MOST_KEPT, 1001), "the oldest goes");
    }
}
