//! Loading the data set, and saying so where it is not MNIST.

use super::output::{note, quiet};
use super::{Failure, tell, thousands, values};
use indicatif::{ProgressBar, ProgressStyle};
use mnist_wgpu::checkpoint::Checkpoint;
use mnist_wgpu::run::{self, Run};
use mnist_wgpu::sources::pictures::{self, Settings};
use mnist_wgpu::sources::published::{self, FASHION_MNIST, KMNIST, MNIST};
use mnist_wgpu::sources::{self, Event, Found, Named, Origin, Sources, Wanted};
use std::path::{Path, PathBuf};

/// Which data set.
#[derive(clap::Args, Clone, Default)]
pub struct DataArguments {
    /// Folder with a data set's four IDX files, gzip or plain, or with PNG and JPEG pictures, a sub-folder for each
    /// class [default: $MNIST_DIR, the user's cache folder, a download]
    #[arg(long, value_name = "FOLDER", value_parser = values::path())]
    data_dir: Option<PathBuf>,

    /// A data set by its name, which is downloaded if need be: mnist, fashion-mnist, kmnist; or synthetic, digits that
    /// the program draws [default: mnist, else synthetic]
    #[arg(long, value_enum, value_name = "NAME", conflicts_with = "data_dir", hide_possible_values = true)]
    dataset: Option<Known>,

    /// Download nothing: make no connection
    #[arg(long)]
    offline: bool,
}

#[derive(Clone, Copy, clap::ValueEnum)]
enum Known {
    Mnist,
    FashionMnist,
    Kmnist,
    Synthetic,
}

impl DataArguments {
    /// The same, of another folder.
    fn of_folder(&self, folder: Option<PathBuf>) -> Self {
        Self { data_dir: folder, dataset: None, ..self.clone() }
    }

    fn wanted(&self) -> Wanted {
        match self.dataset {
            None => Wanted::Any,
            Some(Known::Mnist) => Wanted::Only(&MNIST),
            Some(Known::FashionMnist) => Wanted::Only(&FASHION_MNIST),
            Some(Known::Kmnist) => Wanted::Only(&KMNIST),
            Some(Known::Synthetic) => Wanted::Synthetic,
        }
    }

    /// Loads the data set, telling on stderr where it comes from. `pictures` is what a folder of pictures is made to.
    pub fn load(&self, pictures: Settings) -> Result<Found, Failure> {
        self.load_wanted(self.wanted(), pictures)
    }

    fn load_wanted(&self, wanted: Wanted, pictures: Settings) -> Result<Found, Failure> {
        let mut sources = Sources::of_user(folder(&self.data_dir, wanted)?).wanting(wanted);
        if self.offline {
            sources.mirrors.clear();
        }
        fetch(&Sources { pictures, ..sources })
    }

    /// Loads what to judge a network with that was loaded from `path`: what the arguments say, or else what it was
    /// trained on, from where its run had it. MNIST and digits drawn by the program take each other's place. Where
    /// classes have names that the network knows, its numbers are theirs.
    ///
    /// # Errors
    ///
    /// Images that nobody else has, and that are not where they were.
    pub fn load_for(&self, network: &Checkpoint, path: &Path) -> Result<Found, Failure> {
        let [channels, height, width] = network.model.shapes()[0].image().unwrap_or_default();
        let info = network.info.as_ref();
        let seed = info.map_or(0, |info| info.seed);
        let strokes = network.takes_strokes();
        let pictures = Settings { seed, size: Some([height, width]), channels: Some(channels), strokes };
        let mut found = match info.filter(|_| self.data_dir.is_none() && self.dataset.is_none()) {
            None => self.load(pictures)?,
            Some(info) => self.load_own(&info.dataset, path, pictures)?,
        };
        number_as(&network.classes(), &mut found)?;
        Ok(found)
    }

    /// Loads the data set called `name` on which the network from `path` was trained.
    fn load_own(&self, name: &str, path: &Path, pictures: Settings) -> Result<Found, Failure> {
        let was = folder_of_run(path)?;
        if let Some(folder) = was.clone().filter(|folder| sources::is_there(folder)) {
            return self.of_folder(Some(folder)).load(pictures);
        }
        if let Some(wanted) = by_name(name) {
            return self.load_wanted(wanted, pictures);
        }
        if [MNIST.name, "synthetic"].contains(&name) {
            return self.load(pictures);
        }
        let was = was.map(|folder| format!(" in {}, which is not there", folder.display())).unwrap_or_default();
        Err(Failure::saying(format!(
            "{} was trained on a data set of its own, `{name}`{was}; name its folder, or another, by `--data-dir`",
            path.display()
        )))
    }

    /// Loads the data set that a run with `classes` and `seed` was begun with: from the folder that was given, or else
    /// from where it was. Any other is refused.
    pub fn load_again(&self, before: &run::Data, classes: &[String], seed: u64) -> Result<Found, Failure> {
        let there = before.folder.clone().filter(|folder| sources::is_there(folder));
        let [channels, height, width] = before.shape;
        let strokes = before.name == pictures::STROKES;
        let pictures = Settings { seed, size: Some([height, width]), channels: Some(channels), strokes };
        let mut found = match (self.data_dir.clone().or(there), &before.folder) {
            (None, None) => {
                let found = sources::draw(Some("the run was begun with them".into()));
                tell("Data: SYNTHETIC digits, as before");
                warn_if_synthetic(&found);
                found
            }
            (None, Some(_)) => self.load_wanted(by_name(&before.name).unwrap_or_default(), pictures)?,
            (folder, Some(_) | None) => self.of_folder(folder).load(pictures)?,
        };
        let data = &mut found.dataset;
        if data.sha256() != before.sha256 || data.shape != before.shape || data.classes.len() > classes.len() {
            let from = before.folder.as_ref().map(|folder| format!(" from {}", folder.display())).unwrap_or_default();
            let message = format!(
                "the run was begun with other images: {}{from} (SHA-256 {}); name their folder with `--data-dir`",
                before.name, before.sha256
            );
            return Err(Failure::saying(message));
        }
        data.classes = classes.to_vec(); // whatever the folder calls them now
        Ok(found)
    }
}

/// Where the run had its data set whose folder is `path`, or whose network.
fn folder_of_run(path: &Path) -> Result<Option<PathBuf>, Failure> {
    let path = run::resolve(path);
    let folder = match path.file_name() {
        _ if path.is_dir() => path,
        Some(name) if name == run::MODEL || name == run::LAST => path.parent().unwrap_or(Path::new("")).into(),
        _ => return Ok(None),
    };
    let run = Run { folder };
    // A network's file may have been copied without the rest.
    if !run.path(run::CONFIG).exists() {
        return Ok(None);
    }
    Ok(run.config()?.data.folder)
}

/// A data set that is published under this name, but for MNIST, in whose place others may come.
fn by_name(name: &str) -> Option<Wanted> {
    let known = published::ALL.into_iter().find(|known| known.name == name && known.name != MNIST.name);
    known.map(Wanted::Only)
}

/// The folder that `--data-dir` names, or for what may be MNIST the variable `MNIST_DIR`.
fn folder(data_dir: &Option<PathBuf>, wanted: Wanted) -> Result<Option<Named>, Failure> {
    let variable = || std::env::var_os("MNIST_DIR").filter(|value| !value.is_empty()).map(PathBuf::from);
    let may_be_mnist = match wanted {
        Wanted::Any => true,
        Wanted::Only(published) => published.name == MNIST.name,
        Wanted::Synthetic => false,
    };
    match data_dir {
        Some(path) if path.to_str().is_none() => Err(Failure::Usage(format!(
            "`--data-dir {}`: expected a path in UTF-8, since a run's settings are to name it; rename the folder",
            path.display()
        ))),
        Some(path) => Ok(Some(Named { by: "--data-dir".into(), path: path.clone() })),
        None if !may_be_mnist => Ok(None),
        None => {
            let path = variable().map(values::expanded).transpose();
            let path = path.map_err(|problem| Failure::saying(format!("MNIST_DIR: {problem}")))?;
            Ok(path.map(|path| Named { by: "MNIST_DIR".into(), path }))
        }
    }
}

/// Numbers the classes of a data set as a network with these classes does, where they are known to it by name. Names of
/// IDX files that are not may be other names for the same numbers; those of a folder of pictures are what it is.
pub fn number_as(classes: &[String], found: &mut Found) -> Result<(), Failure> {
    let pictures = is_folder_of_pictures(found);
    let data = &mut found.dataset;
    let number = |name: &String| classes.iter().position(|known| known == name);
    let numbers: Vec<Option<usize>> = data.classes.iter().map(number).collect();
    match numbers.iter().position(Option::is_none) {
        None => {
            for label in [&mut data.train, &mut data.test].into_iter().flat_map(|set| &mut set.labels) {
                *label = numbers[usize::from(*label)].unwrap_or_default() as u16; // of a class each
            }
            data.classes = classes.to_vec();
            Ok(())
        }
        Some(unknown) if pictures => Err(Failure::saying(format!(
            "the network does not know the class `{}` of the pictures; it knows: {}",
            data.classes[unknown],
            classes.join(", ")
        ))),
        Some(_) => Ok(()),
    }
}

/// Whether it was read from a folder of pictures, whose classes are its sub-folders.
pub fn is_folder_of_pictures(found: &Found) -> bool {
    [pictures::NAME, pictures::STROKES].contains(&found.name.as_str())
}

fn fetch(sources: &Sources) -> Result<Found, Failure> {
    let bar = if quiet() { ProgressBar::hidden() } else { ProgressBar::no_length() }; // draws only where stderr is a terminal
    if let Ok(style) = ProgressStyle::with_template("{msg}  {bytes} of {total_bytes}  {bytes_per_sec}") {
        bar.set_style(style);
    }
    let found = sources::load(sources, &mut |event| match event {
        Event::Message(message) => bar.suspend(|| note(message)),
        Event::Progress { file, done, total } => {
            if let Some(total) = total {
                bar.set_length(total);
            }
            bar.set_message(format!("Downloading {file}"));
            bar.set_position(done);
        }
    });
    bar.finish_and_clear();
    let found = found?;
    let data = &found.dataset;
    let (train, test) = (thousands(data.train.len()), thousands(data.test.len()));
    match &found.origin {
        Origin::Directory(folder) | Origin::Downloaded(folder) => {
            note(format_args!("Data: {} ({}), {train} training and {test} test images", found.name, folder.display()));
            if data.shape != [1, 28, 28] || data.classes.len() != 10 || is_folder_of_pictures(&found) {
                let ([c, h, w], classes) = (data.shape, data.classes.len());
                let colours = if c == 1 { "grey" } else { "colour" };
                note(format_args!("      {classes} classes, {h}x{w} pixels, {colours}"));
            }
            if found.name != MNIST.name {
                note(format_args!("      {}", named(&data.classes)));
            }
        }
        Origin::Synthetic { reason: None } => {
            tell(format_args!("Data: SYNTHETIC digits, {train} training and {test} test images drawn by this program"));
            warn_if_synthetic(&found);
        }
        Origin::Synthetic { reason: Some(reason) } => {
            tell(format_args!("Data: SYNTHETIC digits, {train} training and {test} test images drawn by this program"));
            tell(format_args!("      {reason}"));
            warn_if_synthetic(&found);
            tell("      For MNIST: --data-dir FOLDER (or the variable MNIST_DIR) with the four IDX files, gzip or plain.");
        }
    }
    Ok(found)
}

/// The first of the names in a line.
fn named(classes: &[String]) -> String {
    const LETTERS: usize = 80;
    let mut line = String::new();
    for (index, name) in classes.iter().enumerate() {
        if line.chars().count() + name.chars().count() > LETTERS {
            return format!("{line} and {} more", classes.len() - index);
        }
        line += &format!("{}{name}", if index > 0 { ", " } else { "" });
    }
    line
}

pub const NOT_MNIST: &str = "These are NOT the MNIST images: loss and accuracy say nothing about MNIST.";

/// Says of a synthetic data set what its accuracy is worth.
pub fn warn_if_synthetic(found: &Found) {
    if is_synthetic(found) {
        tell(format_args!("      {NOT_MNIST}"));
    }
}

pub fn is_synthetic(found: &Found) -> bool {
    matches!(found.origin, Origin::Synthetic { .. })
}
