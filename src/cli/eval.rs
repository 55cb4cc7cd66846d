//! `eval`: how well a saved network judges a set of images, class by class.

use super::dataset::{DataArguments, warn_if_synthetic};
use super::device::DeviceArguments;
use super::fastest::Job;
use super::network::{self, PixelArguments};
use super::output::{inert, note};
use super::watch::Bar;
use super::{Failure, interrupt, print, tell, values};
use mnist_wgpu::checkpoint::Info;
use mnist_wgpu::data::{Dataset, split};
use mnist_wgpu::engine::{Set, Settings};
use mnist_wgpu::evaluation::{Confusion, Judged};
use mnist_wgpu::train::{Observer, Progress};
use serde::Serialize;
use std::path::PathBuf;

const EXAMPLES: &str = "\
Examples:
  mnist-wgpu eval runs/latest                   the newest run's best network
  mnist-wgpu eval builtin                       the network that comes with the program
  mnist-wgpu eval runs/latest --data-dir new    on the pictures or IDX files in a folder
  mnist-wgpu eval net.safetensors --split val   a file, on the images it was validated with";

#[derive(clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Arguments {
    /// A run's folder, a network that `train` saved, a state_dict that PyTorch saved as safetensors, or `builtin`
    #[arg(value_name = "RUN|FILE", value_parser = values::path())]
    network: PathBuf,

    #[command(flatten)]
    device: DeviceArguments,

    #[command(flatten)]
    data: DataArguments,

    #[command(flatten)]
    pixels: PixelArguments,

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
    classes: Vec<Class<'a>>,
    /// `confusion[truth][guess]`
    confusion: Vec<&'a [u64]>,
}

#[derive(Serialize)]
struct Class<'a> {
    class: usize,
    name: &'a str,
    /// None where a share would be one of nothing.
    precision: Option<f64>,
    recall: Option<f64>,
    f1: Option<f64>,
    /// Images of this class.
    support: u64,
}

pub fn run(arguments: &Arguments) -> Result<(), Failure> {
    let network = network::load(Some(&arguments.network), &arguments.pixels)?;
    interrupt::end_saying("interrupted");
    let job = Job { model: &network.checkpoint.model, settings: Settings::default() };
    let context = arguments.device.open(arguments.device.find()?, &job)?;
    let found = arguments.data.load_for(&network.checkpoint, &arguments.network)?;
    let data = &found.dataset;
    interrupt::catch_interrupts();
    note(network.line());
    let info = network.checkpoint.info.as_ref();
    if let Some(info) = info.filter(|info| info.dataset != found.name) {
        tell(format_args!("         It was trained on {}, and is judged on {}.", info.dataset, found.name));
    }
    network.check_fit(data)?;
    let (set, order) = images(arguments.split, data, info)?;

    if order.is_empty() {
        return Err(Failure::saying(format!("{}: by its own account it has no image of that split", network.name)));
    }
    let mut watcher = Watcher(Bar::new("", 0));
    let judged = network.judge(context.as_ref(), data, set, &order, &mut watcher);
    watcher.0.clear();
    let judged = judged?;
    let labels = &set.of(data).labels;
    let labels: Vec<u16> = order.iter().map(|&image| labels[image as usize]).collect();
    let confusion = Confusion::of(&judged, &labels);
    let names = network.checkpoint.classes();
    let classes = names.iter().enumerate().map(|(class, name)| class_of(&confusion, class, name)).collect::<Vec<_>>();
    if arguments.json {
        let report = Report {
            network: network.name.clone(),
            trained_on: info.map(|info| info.dataset.as_str()),
            dataset: &found.name,
            split: arguments.split,
            images: judged.totals.count(),
            loss: judged.totals.loss(),
            accuracy: judged.totals.accuracy(),
            classes,
            confusion: confusion.rows().collect(),
        };
        print(&(serde_json::to_string_pretty(&report)? + "\n"))?;
    } else {
        print(&text(arguments.split, &judged, &classes, &confusion))?;
    }
    warn_if_synthetic(&found);
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

fn class_of<'a>(confusion: &Confusion, class: usize, name: &'a str) -> Class<'a> {
    let (precision, recall, f1) = (confusion.precision(class), confusion.recall(class), confusion.f1(class));
    Class { class, name, precision, recall, f1, support: confusion.support(class) }
}

/// Up to so many classes, all of the confusion matrix is printed; of more, the most frequent mistakes.
const MOST_IN_MATRIX: usize = 20;
/// So many of them.
const MOST_MISTAKES: usize = 20;
/// Letters of a name in the matrix, and elsewhere.
const NARROW: usize = 5;
const WIDE: usize = 24;

/// A name in at most so many letters.
fn short(name: &str, letters: usize) -> String {
    let mut name: Vec<char> = inert(name).chars().collect();
    if name.len() > letters {
        name.truncate(letters - 1);
        name.push('…');
    }
    name.into_iter().collect()
}

/// The figures as the notebook prints them, then a table of the classes, and what was taken for what.
fn text(part: Part, judged: &Judged, classes: &[Class], confusion: &Confusion) -> String {
    let totals = &judged.totals;
    let set = match part {
        Part::Test => "test",
        Part::Val => "validation",
        Part::Train => "training",
    };
    let mut text = format!("Loss on {set} set:{:.6} Accuracy on {set} set: {:.6}\n", totals.loss(), totals.accuracy());
    let names: Vec<String> = classes.iter().map(|class| short(class.name, WIDE)).collect();
    let widest = names.iter().map(|name| name.chars().count()).max().unwrap_or_default().max(5);
    text += &format!("\n{:>widest$}  precision  recall      f1  images\n", "class");
    let share = |share: Option<f64>| share.map_or("-".to_string(), |share| format!("{share:.4}"));
    for (class, name) in classes.iter().zip(&names) {
        let (precision, recall, f1) = (share(class.precision), share(class.recall), share(class.f1));
        text += &format!("{name:>widest$}  {precision:>9}  {recall:>6}  {f1:>6}  {:>6}\n", class.support);
    }
    if classes.len() > MOST_IN_MATRIX {
        let mistakes = confusion.mistakes();
        let shown = mistakes.len().min(MOST_MISTAKES);
        text += &format!("\nThe {shown} most frequent mistakes of {}: images, truth -> guess\n", mistakes.len());
        for (truth, guess, count) in mistakes.into_iter().take(shown) {
            text += &format!("{count:>6}  {} -> {}\n", names[truth], names[guess]);
        }
        return text;
    }
    let widest = widest.max(13);
    text += &format!("\n{:>widest$}", "truth \\ guess");
    classes.iter().for_each(|class| text += &format!(" {:>5}", short(class.name, NARROW)));
    for (guesses, name) in confusion.rows().zip(&names) {
        text += &format!("\n{name:>widest$}");
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
        interrupt::interrupted()
    }
}
