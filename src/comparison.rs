//! Runs side by side: what was set differently, and what came of it. Runs that differ in nothing but the seed are one
//! line of the table, with mean and sample standard deviation.
//!
//! A run is read from its folder alone, wherever that was made. Settings are compared as its `config.toml` spells them
//! out, so that those of later versions are compared as well.

use crate::evaluation::Confusion;
use crate::files;
use crate::history::{Row, best, since_best};
use crate::run::{CONFIG, Config, METRICS, Run, RunError, TEST, Tested, resolve};
use crate::sources::pictures;
use serde::{Serialize, Serializer};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Display;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

/// Names and values of a run's settings.
pub type Settings = BTreeMap<String, toml::Value>;

/// A run that can be compared: it has an epoch at least.
#[derive(Clone, Debug)]
pub struct Member {
    pub folder: PathBuf,
    pub seed: u64,
    /// Epochs that it was to have.
    pub epochs: u32,
    /// All settings of the training, but for the seed, and of data, device and program those that may change what comes
    /// of it.
    pub settings: Settings,
    /// At least one.
    pub rows: Vec<Row>,
    /// Whether all its epochs are done.
    pub complete: bool,
    /// None where it was not tested yet.
    pub tested: Option<Tested>,
}

/// Runs that differ in nothing but the seed.
#[derive(Clone, Debug)]
pub struct Group {
    pub name: String,
    /// At least one, in the order of their seeds.
    pub members: Vec<Member>,
}

/// A figure of a [`Group`].
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Figure {
    pub mean: f64,
    /// The sample standard deviation; none of a single run.
    pub sd: Option<f64>,
    /// How many runs.
    pub n: usize,
}

/// Something to know of a path or a run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Remark {
    #[serde(serialize_with = "as_text")]
    pub path: PathBuf,
    pub what: String,
}

/// A path as people read it: it need not be UTF-8.
pub fn as_text<S: Serializer>(path: impl AsRef<Path>, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(&path.as_ref().display())
}

#[derive(Clone, Debug)]
pub struct Comparison {
    /// In the order of their first runs.
    pub groups: Vec<Group>,
    /// Names of the settings in which groups differ.
    pub differing: Vec<String>,
    /// Runs that are here, but not with all of their figures.
    pub remarks: Vec<Remark>,
    /// What could not be compared.
    pub passed_over: Vec<Remark>,
}

#[derive(Debug, thiserror::Error)]
pub enum CompareError {
    #[error("{}: expected a run's folder, found nothing of that name; see that it is spelled right", path.display())]
    Missing { path: PathBuf },

    #[error(
        "expected the folder of a run that has come to the end of an epoch, found none{}; `mnist-wgpu train` makes one",
        because(passed_over)
    )]
    Nothing { passed_over: Vec<Remark> },
}

fn because(passed_over: &[Remark]) -> String {
    passed_over.iter().map(|Remark { path, what }| format!(" ({}: {what})", path.display())).collect()
}

impl Figure {
    /// None of no values.
    pub fn of(values: impl Iterator<Item = f64>) -> Option<Self> {
        let values: Vec<f64> = values.collect();
        let n = values.len();
        let mean = values.iter().sum::<f64>() / n as f64;
        let squares: f64 = values.iter().map(|value| (value - mean).powi(2)).sum();
        let sd = (n > 1).then(|| (squares / (n - 1) as f64).sqrt());
        (n > 0).then_some(Self { mean, sd, n })
    }

    /// With so many decimals, and with an exponent where it is too large for them.
    pub fn text(self, decimals: usize) -> String {
        let text = |value: f64| if value.abs() < 1e6 { format!("{value:.decimals$}") } else { format!("{value:.1e}") };
        let spread = self.sd.map(|sd| format!(" ± {}", text(sd)));
        text(self.mean) + &spread.unwrap_or_default()
    }
}

impl Member {
    fn read(run: &Run) -> Result<Self, String> {
        let config = run.config().map_err(|error| error.to_string())?;
        let rows = run.rows().map_err(|error| match error {
            RunError::Read { source, .. } if source.kind() == ErrorKind::NotFound => unbegun(),
            error => error.to_string(),
        })?;
        if rows.is_empty() {
            return Err(unbegun());
        }
        let Config { training, .. } = &config;
        let enough = training.patience.is_some_and(|patience| since_best(&rows) >= patience);
        let complete = rows.len() >= training.epochs as usize || enough;
        // What was tested before the run was taken up again is not its end.
        let tested = run.tested().map_err(|error| error.to_string())?;
        let tested = tested.filter(|tested| complete && tested.epochs as usize == rows.len());
        let (seed, epochs) = (training.seed, training.epochs);
        let settings = settings(run, &config)?;
        Ok(Self { folder: run.folder.clone(), seed, epochs, settings, rows, complete, tested })
    }

    /// The best epoch by validation.
    pub fn best(&self) -> &Row {
        best(&self.rows).unwrap_or(&self.rows[0])
    }

    pub fn seconds(&self) -> f64 {
        self.rows.iter().map(|row| row.seconds).sum()
    }

    /// What is missing of it, if anything.
    fn remark(&self) -> Option<Remark> {
        let (folder, done) = (files::quoted(&self.folder), self.rows.len());
        let what = match (self.complete, &self.tested) {
            (true, Some(_)) => return None,
            (true, None) => format!("without {TEST}, the test's result; `mnist-wgpu train --resume {folder}` makes it"),
            (false, _) => format!("{done} of {} epochs so far: a line of its own, and no test", self.epochs),
        };
        Some(Remark { path: self.folder.clone(), what })
    }

    /// A line of the table is for all runs of which this is the same.
    fn key(&self) -> (&Settings, Option<&Path>) {
        (&self.settings, (!self.complete).then_some(&self.folder))
    }
}

fn unbegun() -> String {
    format!("no epoch is complete yet: nothing in {METRICS}")
}

/// Of other sections than the training's, what is compared.
const COMPARED: [(&str, &[&str]); 3] = [
    ("data", &["name", "shape", "classes", "training_images", "test_images"]),
    ("device", &["name", "backend", "instructions"]),
    ("program", &["version"]),
];

/// As the file has them, and what it leaves out as it is understood. The training's have plain names, others their
/// section's before them.
fn settings(run: &Run, config: &Config) -> Result<Settings, String> {
    let told = |error: &dyn Display| format!("{CONFIG}: {error}");
    let file = files::read_text(&run.path(CONFIG)).map_err(|error| told(&error))?;
    let tables = [
        toml::Table::try_from(config).map_err(|error| told(&error))?,
        file.parse().map_err(|error: toml::de::Error| told(&error.message()))?,
    ];
    // Of one folder's pictures each seed holds out others to test with.
    let drawn = [pictures::NAME, pictures::STROKES].contains(&config.data.name.as_str());
    let is_compared = |name: &str, names: &[&str]| match name {
        "sha256" => !drawn,
        "folder" => drawn,
        name => names.contains(&name),
    };
    let mut settings = Settings::new();
    for table in tables {
        for (section, value) in table {
            let compared = COMPARED.iter().find(|(name, _)| *name == section);
            match (compared, value) {
                (None, value) if section == "training" => flatten(String::new(), value, &mut settings),
                (Some((_, names)), toml::Value::Table(values)) => {
                    let values = values.into_iter().filter(|(name, _)| is_compared(name, names));
                    values.for_each(|(name, value)| flatten(format!("{section}.{name}"), value, &mut settings));
                }
                _ => {}
            }
        }
    }
    settings.remove("seed");
    Ok(settings)
}

fn flatten(name: String, value: toml::Value, into: &mut Settings) {
    match value {
        toml::Value::Table(table) => {
            for (inner, value) in table {
                flatten(if name.is_empty() { inner } else { format!("{name}.{inner}") }, value, into);
            }
        }
        value => drop(into.insert(name, value)),
    }
}

/// A setting as people read it; a dash where there is none.
pub fn told(name: &str, value: Option<&toml::Value>) -> String {
    match value {
        None => "–".into(),
        // Enough to tell two apart.
        Some(toml::Value::String(text)) if name.ends_with("sha256") => text.chars().take(8).collect(),
        Some(toml::Value::String(text)) => text.clone(),
        Some(value) => value.to_string(),
    }
}

/// Figures are of each run's best epoch by validation: losses are mean cross-entropies, accuracies in [0, 1].
impl Group {
    pub fn first(&self) -> &Member {
        &self.members[0]
    }

    fn figure(&self, value: impl Fn(&Member) -> f64) -> Option<Figure> {
        Figure::of(self.members.iter().map(value))
    }

    pub fn best_epoch(&self) -> Option<Figure> {
        self.figure(|member| member.best().epoch.into())
    }

    pub fn val_loss(&self) -> Option<Figure> {
        self.figure(|member| member.best().val_loss)
    }

    pub fn val_accuracy(&self) -> Option<Figure> {
        self.figure(|member| member.best().val_accuracy)
    }

    /// Of all epochs together.
    pub fn seconds(&self) -> Option<Figure> {
        self.figure(Member::seconds)
    }

    /// None where some run has no test: a mean of the others would be another group's.
    fn test(&self, value: impl Fn(&Tested) -> f64) -> Option<Figure> {
        let all: Option<Vec<f64>> = self.members.iter().map(|member| member.tested.as_ref().map(&value)).collect();
        Figure::of(all?.into_iter())
    }

    pub fn test_loss(&self) -> Option<Figure> {
        self.test(|tested| tested.loss)
    }

    pub fn test_accuracy(&self) -> Option<Figure> {
        self.test(|tested| tested.accuracy)
    }

    /// The classes' names, and what was taken for what, of all runs together; none where some run has no test.
    pub fn confusion(&self) -> Option<(&[String], Confusion)> {
        let all: Option<Vec<&Tested>> = self.members.iter().map(|member| member.tested.as_ref()).collect();
        let (all, classes) = (all?, &self.first().tested.as_ref()?.classes);
        if all.iter().any(|tested| tested.classes.len() != classes.len()) {
            return None;
        }
        let mut counts = vec![0; classes.len() * classes.len()];
        for tested in all {
            counts.iter_mut().zip(tested.confusion.iter().flatten()).for_each(|(sum, count)| *sum += count);
        }
        Some((classes, Confusion::new(classes.len(), counts)))
    }

    /// A curve, as far as all runs of the group have it: of each epoch.
    pub fn curve(&self, value: impl Fn(&Row) -> f64) -> Vec<(u32, Figure)> {
        let epochs = self.members.iter().map(|member| member.rows.len()).min().unwrap_or_default();
        let at = |epoch: usize| Figure::of(self.members.iter().map(|member| value(&member.rows[epoch])));
        (0..epochs).filter_map(|epoch| Some((epoch as u32 + 1, at(epoch)?))).collect()
    }

    /// `0–4, 7`
    pub fn seeds(&self) -> String {
        let mut ranges: Vec<(u64, u64)> = Vec::new();
        for member in &self.members {
            match ranges.last_mut() {
                Some((_, last)) if last.checked_add(1) == Some(member.seed) => *last = member.seed,
                _ => ranges.push((member.seed, member.seed)),
            }
        }
        let range = |&(first, last): &(u64, u64)| match first == last {
            true => first.to_string(),
            false => format!("{first}–{last}"),
        };
        ranges.iter().map(range).collect::<Vec<_>>().join(", ")
    }

    /// What the folders' names have in common, or the name of the folder that they lie in; of a single run its own.
    fn name_of(members: &[Member]) -> String {
        let names: Vec<String> = members.iter().map(|member| Run { folder: member.folder.clone() }.name()).collect();
        let [first, others @ ..] = &names[..] else { return String::new() };
        if others.is_empty() {
            // `seed-3` says little without the folder that it lies in.
            let parent = parent(&members[0]).filter(|_| first.starts_with(SEED_FOLDER));
            return parent.map_or_else(|| first.clone(), |parent| format!("{parent}/{first}"));
        }
        let same = |name: &String| first.chars().zip(name.chars()).take_while(|(a, b)| a == b).count();
        let common: String = first.chars().take(others.iter().map(same).min().unwrap_or_default()).collect();
        // Cut where a word ends: seeds 10 and 11 have their first digit in common.
        let separator = |c: char| !c.is_alphanumeric();
        let common = common.rfind(separator).map_or("", |at| &common[..at]).trim_end_matches(separator);
        let common = common.strip_suffix("seed").unwrap_or(common).trim_end_matches(separator);
        let parents: BTreeSet<_> = members.iter().map(parent).collect();
        match parents.into_iter().collect::<Vec<_>>().as_slice() {
            _ if !common.is_empty() => common.into(),
            [Some(parent)] => parent.clone(),
            _ => format!("{first} and {} more", others.len()),
        }
    }
}

/// Begins the name of each run's folder where one command makes several; the seed follows.
pub const SEED_FOLDER: &str = "seed-";

fn parent(member: &Member) -> Option<String> {
    let folder = std::path::absolute(&member.folder).ok()?;
    Some(folder.parent()?.file_name()?.to_string_lossy().into_owned())
}

impl Comparison {
    /// Reads the runs in the folders `paths`, or where such a folder is no run, those in it. What is no run, or cannot
    /// be compared, is passed over.
    ///
    /// # Errors
    /// A path that names nothing, and where there is no run to compare.
    pub fn read(paths: &[PathBuf]) -> Result<Self, CompareError> {
        let (mut members, mut passed_over, mut seen) = (Vec::new(), Vec::new(), BTreeSet::new());
        for path in paths {
            for found in runs_at(path)? {
                let read = found.and_then(|run| {
                    // The same run by another name, such as runs/latest.
                    let once = seen.insert(run.folder.canonicalize().unwrap_or_else(|_| run.folder.clone()));
                    let passed = |what| Remark { path: run.folder.clone(), what };
                    once.then(|| Member::read(&run).map_err(passed)).transpose()
                });
                match read {
                    Ok(member) => members.extend(member),
                    Err(remark) => passed_over.push(remark),
                }
            }
        }
        if members.is_empty() {
            return Err(CompareError::Nothing { passed_over });
        }
        let remarks = members.iter().filter_map(Member::remark).collect();
        let groups = grouped(members);
        let names: BTreeSet<&String> = groups.iter().flat_map(|group| group.first().settings.keys()).collect();
        let differs = |name: &&&String| {
            let values = || groups.iter().map(|group| group.first().settings.get(**name));
            values().any(|value| Some(value) != values().next())
        };
        let mut differing: Vec<String> = names.iter().filter(differs).map(|name| name.to_string()).collect();
        differing.sort_by_key(|name| name.contains('.')); // the training's first; stable
        Ok(Self { groups, differing, remarks, passed_over })
    }

    /// Whether some run's digits were the program's own.
    pub fn has_synthetic(&self) -> bool {
        let name = |group: &Group| told("data.name", group.first().settings.get("data.name"));
        self.groups.iter().any(|group| name(group) == "synthetic")
    }

    /// The head of the table, and a row for each group. Names and settings come first, as many as the number says, then
    /// figures.
    pub fn table(&self) -> (Vec<String>, Vec<Vec<String>>, usize) {
        let means = self.groups.iter().any(|group| group.members.len() > 1);
        let seeds = means || self.groups.iter().any(|group| group.seeds() != self.groups[0].seeds());
        let mut head = vec!["run".to_string()];
        head.extend(self.differing.iter().map(|name| name.strip_prefix("data.").unwrap_or(name).to_string()));
        head.extend(seeds.then(|| "seed".into()));
        let words = head.len();
        head.extend(means.then(|| "n".into()));
        head.extend(FIGURES.iter().map(|(name, ..)| name.to_string()));
        let row = |group: &Group| {
            let settings = &group.first().settings;
            let mut row = vec![group.name.clone()];
            row.extend(self.differing.iter().map(|name| told(name, settings.get(name))));
            row.extend(seeds.then(|| group.seeds()));
            row.extend(means.then(|| group.members.len().to_string()));
            row.extend(FIGURES.iter().map(|&(_, figure, decimals)| {
                // An epoch is a whole number, its mean is not.
                let decimals = if decimals == 0 && group.members.len() > 1 { 1 } else { decimals };
                figure(group).map_or("–".into(), |figure| figure.text(decimals))
            }));
            row
        };
        (head, self.groups.iter().map(row).collect(), words)
    }
}

type OfGroup = fn(&Group) -> Option<Figure>;

/// The table's figures: names, values, decimals.
const FIGURES: [(&str, OfGroup, usize); 6] = [
    ("best epoch", Group::best_epoch, 0),
    ("val loss", Group::val_loss, 4),
    ("val accuracy", Group::val_accuracy, 4),
    ("test loss", Group::test_loss, 4),
    ("test accuracy", Group::test_accuracy, 4),
    ("seconds", Group::seconds, 1),
];

/// In the order of their first runs. Of two runs with the same seed the later begins another group.
fn grouped(members: Vec<Member>) -> Vec<Group> {
    let mut groups: Vec<Group> = Vec::new();
    for member in members {
        let fits = |group: &&mut Group| {
            group.first().key() == member.key() && group.members.iter().all(|other| other.seed != member.seed)
        };
        match groups.iter_mut().find(fits) {
            Some(group) => group.members.push(member),
            None => groups.push(Group { name: String::new(), members: vec![member] }),
        }
    }
    let mut names: BTreeMap<String, u32> = BTreeMap::new();
    for group in &mut groups {
        group.members.sort_by_key(|member| member.seed); // stable
        let name = Group::name_of(&group.members);
        let count = names.entry(name.clone()).or_default();
        *count += 1;
        group.name = if *count > 1 { format!("{name} ({count})") } else { name };
    }
    groups
}

/// The runs that `path` names, or why it names none.
fn runs_at(path: &Path) -> Result<Vec<Result<Run, Remark>>, CompareError> {
    let passed = |what: &str| Ok(vec![Err(Remark { path: path.into(), what: what.into() })]);
    let folder = resolve(path);
    if folder.is_file() {
        return passed("a file, no run's folder");
    }
    if !folder.is_dir() {
        return match path.symlink_metadata() {
            Ok(_) => passed("it points to what is not there"),
            Err(_) => Err(CompareError::Missing { path: path.into() }),
        };
    }
    let inside = runs_in(&folder, DEPTH);
    match inside.is_empty() {
        true => passed(&format!("a folder without {CONFIG}: no run's, and none in it")),
        false => Ok(inside.into_iter().map(|folder| Ok(Run { folder })).collect()),
    }
}

/// How deep runs may lie in a folder: one for each setting, in it one for each seed, and one to spare.
const DEPTH: u32 = 3;

/// `folder`, if it is a run's, or else the runs in it.
fn runs_in(folder: &Path, depth: u32) -> Vec<PathBuf> {
    if folder.join(CONFIG).is_file() {
        return vec![folder.into()];
    }
    if depth == 0 {
        return Vec::new();
    }
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path());
    let mut folders: Vec<PathBuf> = entries.filter(|path| path.is_dir()).collect();
    folders.sort();
    folders.iter().flat_map(|folder| runs_in(folder, depth - 1)).collect()
}
