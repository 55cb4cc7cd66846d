//! `eval`: how well a saved network judges a set of images, class by class.

use super::dataset::{load, warn_if_synthetic};
use super::device::{self, DeviceArguments};
use super::output::note;
use super::watch::{self, Bar};
use super::{Failure, network, print, tell};
use mnist_wgpu::checkpoint::Info;
use mnist_wgpu::data::{CLASSES, Dataset, split};
use mnist_wgpu::engine::Set;
use mnist_wgpu::evaluation::{Confusion, Judged};
use mnist_wgpu::train::{Observer, Progress};
use serde::Serialize;
use std::path::PathBuf;

const EXAMPLES: &str = "\
Examples:
  mnist-wgpu eval runs/latest                   the newest run's best network
  mnist-wgpu eval builtin                       the network that comes with the program
  mnist-wgpu eval net.safetensors --split val   a file, on the images it was validated with";

#[derive(clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Arguments {
    /// A run's folder, a network that `train` saved, a state_dict that PyTorch saved as safetensors, or `builtin`
    #[arg(value_name = "RUN|FILE")]
    network: PathBuf,

    #[command(flatten)]
    device: DeviceArguments,

    /// Folder with the four MNIST files, gzip or plain [default: $MNIST_DIR, the user's cache folder, a download]
    #[arg(long, value_name = "FOLDER")]
    data_dir: Option<PathBuf>,

    /// Which images: the test set, or those that the network was validated or trained with
    #[arg(long, value_enum, default_value_t = Part::Test)]
    split: Part,

    /// Print JSON for programs instead of tables
    #[arg(long)]
    json: bool,
}

#[derive(Clone, Copy, clap::ValueEnum, Serialize)]
#[serde(rename_all = "lowercase")]
enum Part {
    Test,
    Val,
    Train,
}

/// What `--json` prints. Fields keep their names and units from version to version; new ones may come.
#[derive(Serialize)]
struct Report<'a> {
    network: String,
    /// What the network was trained on, if its file says so, and what it was judged on.
    trained_on: Option<&'a str>,
    dataset: &'a str,
    split: Part,
    images: u64,
    /// Mean cross-entropy.
    loss: f64,
    /// Shares in [0, 1], as those of the classes.
    accuracy: f64,
    classes: Vec<Class>,
    /// `confusion[truth][guess]`
    confusion: [[u64; CLASSES]; CLASSES],
}

#[derive(Serialize)]
struct Class {
    class: usize,
    /// None where a share would be one of nothing.
    precision: Option<f64>,
    recall: Option<f64>,
    f1: Option<f64>,
    /// Images of this class.
    support: u64,
}

pub fn run(arguments: &Arguments) -> Result<(), Failure> {
    let network = network::load(Some(&arguments.network))?;
    watch::catch_interrupts()?;
    let context = device::open(&arguments.device)?;
    let data = load(arguments.data_dir.clone())?;
    if watch::interrupted() {
        return Err(Failure::Interrupted("interrupted".into()));
    }
    note(network.line());
    let info = network.checkpoint.info.as_ref();
    if let Some(info) = info.filter(|info| info.dataset != data.name) {
        tell(format_args!("         It was trained on {}, and is judged on {}.", info.dataset, data.name));
    }
    let (set, order) = images(arguments.split, &data, info)?;

    if order.is_empty() {
        return Err(Failure::saying(format!("{}: by its own account it has no image of that split", network.name)));
    }
    let mut watcher = Watcher(Bar::new(""));
    let judged = network.judge(context.as_ref(), &data, set, &order, &mut watcher);
    watcher.0.clear();
    let judged = judged?;
    let labels = if set == Set::Test { &data.test.labels } else { &data.train.labels };
    let labels: Vec<u8> = order.iter().map(|&image| labels[image as usize]).collect();
    let confusion = Confusion::of(&judged.logits, &labels);
    if arguments.json {
        let report = Report {
            network: network.name.clone(),
            trained_on: info.map(|info| info.dataset.as_str()),
            dataset: &data.name,
            split: arguments.split,
            images: judged.totals.count(),
            loss: judged.totals.loss(),
            accuracy: judged.totals.accuracy(),
            classes: (0..CLASSES).map(|class| class_of(&confusion, class)).collect(),
            confusion: confusion.counts,
        };
        print(&(serde_json::to_string_pretty(&report)? + "\n"))?;
    } else {
        print(&text(arguments.split, &judged, &confusion))?;
    }
    warn_if_synthetic(&data);
    Ok(())
}

/// Which images of which set `part` means, to the network that `info` describes.
fn images(part: Part, data: &Dataset, info: Option<&Info>) -> Result<(Set, Vec<u32>), Failure> {
    if let Part::Test = part {
        return Ok((Set::Test, (0..data.test.len() as u32).collect()));
    }
    let Some(info) = info else {
        let message = "the file does not say which images it was validated with, so only `--split test` can be judged";
        return Err(Failure::saying(message));
    };
    let parts = split(data.train.len(), info.val_fraction, info.seed);
    Ok((Set::Train, if let Part::Val = part { parts.val } else { parts.train }))
}

fn class_of(confusion: &Confusion, class: usize) -> Class {
    let (precision, recall, f1) = (confusion.precision(class), confusion.recall(class), confusion.f1(class));
    Class { class, precision, recall, f1, support: confusion.support(class) }
}

/// The figures as the notebook prints them, then a table of the classes and the confusion matrix.
fn text(part: Part, judged: &Judged, confusion: &Confusion) -> String {
    let totals = &judged.totals;
    let set = match part {
        Part::Test => "test",
        Part::Val => "validation",
        Part::Train => "training",
    };
    let mut text = format!("Loss on {set} set:{:.6} Accuracy on {set} set: {:.6}\n", totals.loss(), totals.accuracy());
    text += "\nclass  precision  recall      f1  images\n";
    let share = |share: Option<f64>| share.map_or("-".to_string(), |share| format!("{share:.4}"));
    for class in (0..CLASSES).map(|class| class_of(confusion, class)) {
        let (precision, recall, f1) = (share(class.precision), share(class.recall), share(class.f1));
        text += &format!("{:>5}  {precision:>9}  {recall:>6}  {f1:>6}  {:>6}\n", class.class, class.support);
    }
    text += "\ntruth \\ guess";
    (0..CLASSES).for_each(|guess| text += &format!(" {guess:>5}"));
    for (truth, guesses) in confusion.counts.iter().enumerate() {
        text += &format!("\n{truth:>13}");
        for &count in guesses {
            text += &if count > 0 { format!(" {count:>5}") } else { "     .".to_string() };
        }
    }
    text + "\n"
}

struct Watcher(Bar);

impl Observer for Watcher {
    fn progress(&mut self, progress: &Progress) {
        self.0.show(progress);
    }

    fn stop(&self) -> bool {
        watch::interrupted()
    }
}
