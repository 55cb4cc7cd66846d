//! The recipe of a run: its options, and the presets that they change.

use super::from::Predecessor;
use crate::cli::{Failure, layers, values};
use clap::Args;
use mnist_wgpu::ops::augment::Amounts;
use mnist_wgpu::{run, schedule};
use std::path::PathBuf;

/// What determines the result of a run, but for its data, device and number of epochs. A run that is taken up again has
/// it from its folder.
#[derive(clap::Args)]
pub struct Recipe {
    #[command(flatten)]
    step: Step,

    /// Learning rate, the highest one where it changes [default: 0.01, of adamw 0.001]
    #[arg(long, value_name = "RATE", value_parser = values::positive, allow_negative_numbers = true)]
    lr: Option<f64>,

    /// How the learning rate changes from step to step: constant; step, a tenth after each third of the epochs; cosine,
    /// down to 0; one-cycle, up and down to nearly nothing. As PyTorch's schedulers [default: constant]
    #[arg(long, value_name = "KIND", value_parser = values::schedule)]
    schedule: Option<schedule::Kind>,

    /// Epochs in which the learning rate rises to --lr before the schedule begins; of one-cycle, of which it is a part,
    /// three tenths of all if not given [default: 0]
    #[arg(long, value_name = "EPOCHS", value_parser = values::not_negative, allow_negative_numbers = true)]
    warmup: Option<f64>,

    /// Validate, test and keep a moving average of the weights, of which each step keeps this share: in [0, 1), such as
    /// 0.995; 0 is none [default: 0]
    #[arg(long, value_name = "SHARE", value_parser = values::below_one, allow_negative_numbers = true)]
    ema: Option<f64>,

    /// End when validation has not improved for N epochs; the schedule stays that of --epochs
    #[arg(long, value_name = "N", value_parser = values::epochs, allow_negative_numbers = true)]
    patience: Option<u32>,
}

/// What a single training step does, and what it begins with.
#[derive(clap::Args)]
pub struct Step {
    /// A set of settings, --epochs among them; those given beside it replace its own. notebook: the classic run, each
    /// setting's default. fast: 99% of MNIST in seconds. accurate: 99.6% of MNIST in minutes. What they stand for is in
    /// the run's config.toml
    #[arg(long, value_enum, default_value = "notebook", hide_possible_values = true)]
    preset: Preset,

    /// Images per training step, at most 4096 [default: 32]
    #[arg(long, value_name = "N", value_parser = values::batch_size, allow_negative_numbers = true)]
    batch_size: Option<u32>,

    /// What moves the parameters: sgd or adamw, as PyTorch's [default: sgd]
    #[arg(long, value_name = "NAME", value_parser = values::optimizer)]
    optimizer: Option<run::Optimizer>,

    /// Momentum of sgd, in [0, 1) [default: 0.9]
    #[arg(long, value_parser = values::below_one, allow_negative_numbers = true)]
    momentum: Option<f64>,

    /// Plain momentum instead of Nesterov's
    #[arg(long)]
    no_nesterov: bool,

    /// Share of each parameter that is added to its gradient, by sgd, or taken from it, by adamw and times the learning
    /// rate [default: 0, of adamw 0.01]
    #[arg(long, value_name = "SHARE", value_parser = values::not_negative, allow_negative_numbers = true)]
    weight_decay: Option<f64>,

    /// The network: its layers with commas between them, or a TOML file with such `layers`. For example "conv 32 3, bn,
    /// relu, pool 2, linear 128, relu, dropout 0.5, linear" [default: the classic one]
    #[arg(long, value_name = "LAYERS", value_parser = layers::text, conflicts_with = "dropout")]
    model: Option<String>,

    /// Begin with the network of another run, or of a file: its layers and its weights. Where the classes are others
    /// the last layer begins anew
    #[arg(long, value_name = "RUN", value_parser = values::path(), conflicts_with_all = ["model", "dropout"])]
    pub from: Option<PathBuf>,

    /// Leave the first N layers of --from as they are, each convolution, ReLU, pooling, ... counted
    #[arg(long, value_name = "N", requires = "from", value_parser = values::layers, allow_negative_numbers = true)]
    freeze: Option<u32>,

    /// Move images a little in training, each time otherwise. AMOUNTS are the most in either direction, such as
    /// "rotation 12, scale 0.1, shear 0.15, shift 0.1" (degrees, then shares), which is meant if there are none; or
    /// "none"
    #[arg(long, value_name = "AMOUNTS", num_args = 0..=1, default_missing_value = "", value_parser = augment)]
    augment: Option<Amounts>,

    /// Share of each target that is spread over all classes, in [0, 1) [default: 0]
    #[arg(long, value_name = "SHARE", value_parser = values::below_one, allow_negative_numbers = true)]
    label_smoothing: Option<f64>,

    /// Probability of zeroing a feature before the last layer, in [0, 1) [default: 0.5]
    #[arg(long, value_name = "P", value_parser = values::below_one, allow_negative_numbers = true)]
    dropout: Option<f64>,

    /// Drives initialisation, split, shuffles and dropout: the same seed on the same device gives the same bits
    #[arg(long, default_value_t = 0, value_parser = values::seed, allow_negative_numbers = true)]
    seed: u64,

    /// Share of the training images held out for validation, in (0, 1)
    #[arg(long, default_value_t = 0.1, value_name = "SHARE", value_parser = values::fraction, allow_negative_numbers = true)]
    val_fraction: f64,
}

/// The options of a [`Recipe`].
pub fn options() -> Vec<clap::Id> {
    let command = Recipe::augment_args(clap::Command::new("recipe"));
    command.get_arguments().map(|option| option.get_id().clone()).collect()
}

#[derive(Clone, Copy, clap::ValueEnum)]
enum Preset {
    Notebook,
    Fast,
    Accurate,
}

impl Step {
    fn preset(&self) -> run::Training {
        match self.preset {
            Preset::Notebook => run::Training::NOTEBOOK,
            Preset::Fast => run::Training::FAST,
            Preset::Accurate => run::Training::ACCURATE,
        }
    }

    /// The preset's settings, but for those that were given. `predecessor` is what `--from` names. Of another optimizer
    /// than the preset's, rate and weight decay are its own.
    pub fn training(&self, predecessor: Option<&Predecessor>) -> Result<run::Training, Failure> {
        let preset = self.preset();
        if self.dropout.is_some() && preset.model.is_some() {
            let message = "`--dropout` is the classic network's; of this preset's it stands in the layers: give `--model`";
            return Err(Failure::Usage(message.into()));
        }
        // clap lets it pass beside an option that `--from` excludes.
        if self.freeze.is_some() && self.from.is_none() {
            return Err(Failure::Usage("`--freeze`: expected `--from` beside it, whose first layers it keeps".into()));
        }
        let model = predecessor.map(Predecessor::layers).or(self.model.clone()).map(Into::into).or(preset.model);
        let dropout = self.dropout.or(preset.dropout).filter(|_| model.is_none());
        let optimizer = self.optimizer.unwrap_or(preset.optimizer);
        let (learning_rate, weight_decay) = match optimizer == preset.optimizer {
            true => (preset.learning_rate, preset.weight_decay),
            false => optimizer.defaults(),
        };
        Ok(run::Training {
            batch_size: self.batch_size.unwrap_or(preset.batch_size),
            learning_rate,
            optimizer,
            momentum: self.momentum.unwrap_or(preset.momentum),
            nesterov: preset.nesterov && !self.no_nesterov,
            weight_decay: self.weight_decay.unwrap_or(weight_decay),
            dropout,
            seed: self.seed,
            val_fraction: self.val_fraction,
            label_smoothing: self.label_smoothing.unwrap_or(preset.label_smoothing),
            model,
            from: self.from.as_ref().map(|path| path.display().to_string()),
            freeze: self.freeze.unwrap_or_default(),
            augment: self.augment.or(preset.augment).filter(|&amounts| amounts != Amounts::NONE),
            ..preset
        })
    }

    /// The network to begin with.
    pub fn predecessor(&self) -> Result<Option<Predecessor>, Failure> {
        self.from.as_deref().map(Predecessor::load).transpose()
    }
}

impl Recipe {
    /// See [`Step::predecessor`].
    pub fn predecessor(&self) -> Result<Option<Predecessor>, Failure> {
        self.step.predecessor()
    }

    /// The preset's settings, but for those that were given. `predecessor` is what `--from` names.
    pub fn training(&self, epochs: Option<u32>, predecessor: Option<&Predecessor>) -> Result<run::Training, Failure> {
        let (step, preset) = (self.step.training(predecessor)?, self.step.preset());
        let same_optimizer = step.optimizer == preset.optimizer;
        let training = run::Training {
            epochs: epochs.unwrap_or(preset.epochs),
            learning_rate: self.lr.unwrap_or(if same_optimizer { preset.learning_rate } else { step.learning_rate }),
            schedule: self.schedule.unwrap_or(preset.schedule),
            warmup: self.warmup.unwrap_or(preset.warmup),
            ema: self.ema.unwrap_or(preset.ema),
            patience: self.patience.or(preset.patience),
            ..step
        };
        let (warmup, epochs) = (training.warmup, training.epochs);
        match warmup <= f64::from(epochs) {
            true => Ok(training),
            false => Err(Failure::Usage(format!("`--warmup {warmup}`: expected at most the {epochs} epochs of the run"))),
        }
    }
}

/// The amounts of an augmentation: `NAME NUMBER` with commas between them.
fn augment(text: &str) -> Result<Amounts, String> {
    match text.trim() {
        "" => return Ok(Amounts::USUAL),
        "none" => return Ok(Amounts::NONE),
        _ => {}
    }
    let mut amounts = Amounts::NONE;
    for part in text.split(',').map(str::trim) {
        let known = amounts.named().map(|(name, _, most)| format!("{name} 0 to {most}")).join(", ");
        let fault = || format!("expected \"none\" or some of: {known}; found `{part}`");
        let (name, number) = part.split_once(char::is_whitespace).ok_or_else(fault)?;
        let number: f32 = number.trim().parse().map_err(|_| fault())?;
        let mut named = amounts.named().into_iter();
        let (_, amount, most) = named.find(|(known, ..)| *known == name).ok_or_else(fault)?;
        if !(0.0..=most).contains(&number) {
            return Err(fault());
        }
        *amount = number;
    }
    Ok(amounts)
}
