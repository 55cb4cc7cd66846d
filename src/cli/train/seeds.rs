//! `train --seeds N`: the same settings with several seeds, one run after the other, and what they come to.
//!
//! Each is a run like others, in a folder of its own. Given again, the command passes over the runs that are at their
//! end, goes on with the one that was stopped, and makes the others.

use super::{Arguments, Failure, Job, advise, begin_in, checked_model, folder_of, resume, settings_of};
use crate::cli::compare::{tell_of, text};
use crate::cli::dataset::is_folder_of_pictures;
use crate::cli::output::note;
use crate::cli::{interrupt, print, tell};
use mnist_wgpu::comparison::{Comparison, SEED_FOLDER};
use mnist_wgpu::files;
use mnist_wgpu::run::{Config, LAST, MODEL, Run, RunError, Training};
use std::path::{Path, PathBuf};

/// What there is to do in a folder.
enum Task {
    Begin(Run),
    /// A run that was stopped.
    Resume(PathBuf),
    /// A run at its end.
    Keep(PathBuf),
}

pub fn run(arguments: &Arguments) -> Result<(), Failure> {
    // What can be wrong is found out before anything takes long.
    let predecessor = arguments.recipe.predecessor()?;
    let training = arguments.recipe.training(arguments.epochs, predecessor.as_ref())?;
    let outer = folder_of(arguments)?;
    if outer.join(MODEL).exists() {
        return Err(advise(RunError::Exists { folder: outer }));
    }
    let count = u64::from(arguments.seeds.unwrap_or(1));
    let seeds = training.seed..=training.seed + (count - 1);
    if *seeds.end() > Training::LARGEST_SEED {
        let seed = training.seed;
        return Err(Failure::Usage(format!("`--seed {seed} --seeds {count}`: the last seed would be too large")));
    }
    let of_seed = |seed| Training { seed, ..training.clone() };
    let folder = |seed| outer.join(format!("{SEED_FOLDER}{seed}"));
    let tasks: Result<Vec<_>, Failure> =
        seeds.map(|seed| Ok((of_seed(seed), task(&folder(seed), &of_seed(seed), arguments.force)?))).collect();
    let tasks = tasks?;
    let folders: Vec<PathBuf> = tasks.iter().map(|(training, _)| folder(training.seed)).collect();

    interrupt::end_saying("interrupted; nothing was saved yet");
    let device = arguments.device.find()?;
    let found = arguments.data.load(training.seed, predecessor.as_ref())?;
    let model = checked_model(&found.dataset, &training)?;
    let context = arguments.device.open(device, &Job { model: &model, settings: settings_of(&training) })?;
    // Each seed splits the pictures of one folder otherwise.
    let by_seed = is_folder_of_pictures(&found);
    let sha256 = found.dataset.sha256();
    for folder in tasks.iter().filter_map(|(_, task)| task.there()) {
        let before = Run { folder: folder.into() }.config()?.data;
        if before.sha256 != sha256 && !by_seed {
            let message = format!(
                "{} holds a run on other images, {} (SHA-256 {}); give another `--out`, or overwrite it with `--force`",
                folder.display(),
                before.name,
                before.sha256
            );
            return Err(Failure::saying(message));
        }
    }
    let (mut failed, mut done) = (Vec::new(), 0);
    for (training, task) in tasks {
        done += 1;
        let (seed, turn) = (training.seed, format!("{done} of {count}"));
        let made = match task {
            Task::Keep(folder) => {
                note(format_args!("Seed {seed}, {turn}: {} is at its end, and stays.", folder.display()));
                continue;
            }
            Task::Resume(folder) => {
                note(format_args!("Seed {seed}, {turn}"));
                resume(arguments, &folder)
            }
            Task::Begin(run) => {
                note(format_args!("Seed {seed}, {turn}"));
                let own = if by_seed { Some(arguments.data.load(training.seed, predecessor.as_ref())?) } else { None };
                let found = own.as_ref().unwrap_or(&found);
                begin_in(run, training, predecessor.as_ref(), arguments, context.as_ref(), found)
            }
        };
        match made {
            // One seed that fails, as a run may diverge, is no reason not to try the others.
            Err(Failure::Failed(error)) => {
                tell(format_args!("error: seed {seed}: {error}"));
                failed.push(seed.to_string());
            }
            Err(Failure::Interrupted(message)) => {
                return Err(Failure::Interrupted(format!(
                    "{message}\nOr give the same command again{}",
                    again(arguments, &outer)
                )));
            }
            made => made?,
        }
        if interrupt::interrupted() && done < count {
            let message =
                format!("interrupted after seed {seed}; the same command again goes on{}", again(arguments, &outer));
            return Err(Failure::Interrupted(message));
        }
    }
    if failed.is_empty() || failed.len() < folders.len() {
        let comparison = Comparison::read(&folders)?;
        tell_of(&comparison);
        print(&format!("\n{}", text(&comparison)))?;
    }
    if failed.is_empty() {
        let outer = files::quoted(&outer);
        note(format_args!("`mnist-wgpu compare {outer} --out FILE.html` makes a page of them."));
        return Ok(());
    }
    Err(Failure::saying(format!("{} of {count} runs failed: those with seed {}", failed.len(), failed.join(", "))))
}

/// What the same command lacks, where the program chose the folder.
fn again(arguments: &Arguments, outer: &Path) -> String {
    match arguments.out {
        Some(_) => String::new(),
        None => format!(", with --out {}", files::quoted(outer)),
    }
}

impl Task {
    /// The folder of a run that there is.
    fn there(&self) -> Option<&Path> {
        match self {
            Task::Begin(_) => None,
            Task::Resume(folder) | Task::Keep(folder) => Some(folder),
        }
    }
}

/// What there is to do in `folder` for a run with these settings.
fn task(folder: &Path, training: &Training, force: bool) -> Result<Task, Failure> {
    let run = Run { folder: folder.into() };
    if force || !run.path(LAST).exists() {
        return Ok(Task::Begin(Run::check(folder, force).map_err(advise)?));
    }
    let config = run.config()?;
    if let Some(name) = difference(&config, training) {
        let message = format!(
            "{} holds a run with other settings, of which `{name}` is one; give another `--out`, or overwrite it with \
             `--force`",
            folder.display()
        );
        return Err(Failure::saying(message));
    }
    let at_its_end = Comparison::read(&[folder.into()]).is_ok_and(|comparison| comparison.remarks.is_empty());
    Ok(if at_its_end { Task::Keep(folder.into()) } else { Task::Resume(folder.into()) })
}

/// A setting of the training that is another one in `config`.
fn difference(config: &Config, training: &Training) -> Option<String> {
    let [own, other] = [&config.training, training].map(|training| toml::Table::try_from(training).unwrap_or_default());
    let names = own.keys().chain(other.keys());
    names.filter(|name| own.get(*name) != other.get(*name)).map(String::from).next()
}
