//! `predict`: what a picture shows.

mod pictures;
mod show;
mod told;

use super::device::DeviceArguments;
use super::fastest::Job;
use super::network::{self, Network, PixelArguments};
use super::output::inert;
use super::picture::Palette;
use super::{Failure, print, target, tell, values};
use mnist_wgpu::data::{Dataset, Images};
use mnist_wgpu::doubt::{doubts, own_doubts};
use mnist_wgpu::engine::{Set, Settings};
use mnist_wgpu::image::Picture;
use mnist_wgpu::reading::{Content, Reading};
use mnist_wgpu::run::is_run;
use pictures::{Seen, Trouble};
use std::io::{self, IsTerminal};
use std::path::PathBuf;

/// More readings than this are told in a line each unless the user wants to see them.
const MOST_DRAWN: usize = 20;
/// What its help says of `--device`: one picture takes less time than opening a GPU.
const DEVICE: &str = "cpu, auto (what trains the network fastest), gpu, a number of `devices`, or a part of a device's name";

const EXAMPLES: &str = "\
Examples:
  mnist-wgpu predict seven.png              by the network that comes with the program
  mnist-wgpu predict runs/latest drawings   every picture in a folder, by the newest run's best network
  mnist-wgpu predict form.jpg --show it.png what was found on a page, and what each was read as
  cat seven.jpg | mnist-wgpu predict -";

#[derive(clap::Args)]
#[command(override_usage = "mnist-wgpu predict [OPTIONS] [MODEL] <IMAGE>...")]
#[command(mut_arg("device", |device| device.default_value("cpu").help(DEVICE)))]
#[command(after_help = EXAMPLES)]
pub struct Arguments {
    /// PNG or JPEG pictures, folders of them, or - for stdin; before them, if it is not to be the built-in network, a
    /// run's folder or a safetensors file. All digits of a picture are read, line by line; digits that touch may be
    /// read as one
    #[arg(required = true, value_name = "IMAGE", value_parser = values::path())]
    paths: Vec<PathBuf>,

    /// Print what was found for programs
    #[arg(long)]
    json: bool,

    /// Show what the network sees: auto (in a terminal, up to 20 pictures), always or never
    #[arg(long, value_enum, hide_possible_values = true, default_value = "auto")]
    picture: When,

    /// Write the picture with what was found in it, and what the network saw and said (of one picture)
    #[arg(long, value_name = "FILE.png", value_parser = values::path())]
    show: Option<PathBuf>,

    /// Overwrite a file that exists
    #[arg(long, requires = "show")]
    force: bool,

    #[command(flatten)]
    pixels: PixelArguments,

    #[command(flatten)]
    device: DeviceArguments,
}

#[derive(Clone, Copy, PartialEq, clap::ValueEnum)]
enum When {
    Auto,
    Always,
    Never,
}

/// A picture, if it is kept, and what was read in it.
struct Found {
    path: String,
    picture: Option<Picture>,
    result: Result<Vec<Reading>, Trouble>,
}

pub fn run(arguments: &Arguments) -> Result<(), Failure> {
    let (model, paths) = match arguments.paths.split_first() {
        // What stands alone can only be a picture.
        Some((first, [])) if pictures::is_pipe(first) => (None, &arguments.paths[..]),
        Some((first, rest)) if !pictures::is_picture(first) => (Some(first.as_path()), rest),
        _ => (None, &arguments.paths[..]),
    };
    let network = network::load(model, &arguments.pixels)?;
    if paths.is_empty() {
        let message =
            "no picture to look at; expected predict [MODEL] IMAGE..., with PNG or JPEG files, a folder or - for stdin";
        return Err(Failure::Usage(message.into()));
    }
    if let Some(run) = paths.iter().find(|path| is_run(path)) {
        let message = format!("{}: a run's folder; name it before the pictures, as the network", run.display());
        return Err(Failure::Usage(message));
    }
    if arguments.show.is_some() && (paths.len() > 1 || paths[0].is_dir()) {
        return Err(Failure::Usage("--show shows one picture; expected one, found several".into()));
    }
    if let Some(path) = &arguments.show {
        target::check(show::PICTURE, path, arguments.force, &[&paths[0]])?;
    }
    let note =
        if model.is_none() { " (a run's folder or a .safetensors file before the pictures names another)" } else { "" };
    tell(format_args!("{}{note}", network.line()));

    let classes = network.checkpoint.classes();
    let whole = network.checkpoint.takes_whole();
    let keep = arguments.show.is_some();
    let seen: Vec<Seen> = paths.iter().flat_map(|path| pictures::see(path, network.shape(), whole, keep)).collect();
    let samples: Vec<u8> = seen.iter().flat_map(|seen| &seen.content).flat_map(Content::samples).collect();
    let logits = if samples.is_empty() { Vec::new() } else { logits(&network, samples.clone(), &arguments.device)? };
    let doubts = match whole {
        true => own_doubts(&logits, &classes),
        false => pollster::block_on(doubts(&samples, network.shape(), &logits, &classes))
            .map_err(|error| Failure::saying(error.to_string()))?,
    };
    let mut answers = logits.chunks_exact(classes.len()).zip(doubts);
    let found = seen.into_iter().map(|Seen { path, content, picture }| {
        let result = content.map(|content| content.readings(&mut answers));
        Found { path, picture, result }
    });
    let found: Vec<Found> = found.collect();

    if let (Some(file), [Found { path, picture: Some(picture), result: Ok(readings) }]) = (&arguments.show, &found[..]) {
        show::write(file, path, picture, readings, network.shape(), &classes)?;
    }
    match arguments.json {
        true => print(&told::json(&found, &classes)?)?,
        false => tell_all(&found, network.shape(), &classes, arguments.picture)?,
    }
    let failed = found.iter().filter(|found| found.result.is_err()).count();
    match (failed, found.len()) {
        (0, _) => Ok(()),
        (1, 1) => Err(Failure::saying("nothing was predicted")),
        (failed, all) => Err(Failure::saying(format!("nothing was predicted for {failed} of {all} pictures"))),
    }
}

/// What the network says of each of the samples, (N, C, H, W): logits, (N, classes).
fn logits(network: &Network, samples: Vec<u8>, device: &DeviceArguments) -> Result<Vec<f32>, Failure> {
    let shape = network.shape();
    let count = samples.len() / shape.iter().product::<usize>();
    let test = Images { pixels: samples, labels: vec![0; count] }; // what it is nobody knows
    let data = Dataset { shape, classes: network.checkpoint.classes(), train: Images::default(), test };
    let job = Job { model: &network.checkpoint.model, settings: Settings::default() };
    let context = if device.is_cpu() { None } else { device.open(device.find()?, &job)? };
    let order: Vec<u32> = (0..count as u32).collect();
    Ok(network.judge(context.as_ref(), &data, Set::Test, &order, &mut ())?.logits)
}

/// Prints a line, or a picture and bars, for each reading; troubles and doubts go to stderr.
fn tell_all(found: &[Found], shape: [usize; 3], classes: &[String], when: When) -> Result<(), Failure> {
    let readings = found.iter().flat_map(|found| &found.result).map(Vec::len).sum::<usize>();
    let draw = match when {
        When::Always => true,
        When::Never => false,
        When::Auto => io::stdout().is_terminal() && readings <= MOST_DRAWN,
    };
    let palette = draw.then(Palette::from_environment);
    let classes = &Vec::from_iter(classes.iter().map(|name| inert(name)));
    for Found { path, result, .. } in found {
        let path = &inert(path);
        match result {
            Ok(readings) => {
                print(&told::text(path, readings, shape, classes, palette))?;
                told::doubts(path, readings, classes).into_iter().for_each(tell);
            }
            Err(trouble) => tell(format_args!("{path}: {trouble}")),
        }
    }
    Ok(())
}
