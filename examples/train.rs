use mnist_wgpu::data::{split, synthetic};
use mnist_wgpu::engine::{CpuEngine, Engine, GpuEngine, Set, Settings};
use mnist_wgpu::gpu::{Adapters, drive};
use mnist_wgpu::model::Model;
use mnist_wgpu::schedule::Schedule;
use mnist_wgpu::state::State;
use mnist_wgpu::train::{self, Options, Position};
use std::{error::Error, time::Instant};

fn main() -> Result<(), Box<dyn Error>> {
    let data = synthetic(6_000, 1_000, 0);
    let model = Model::classic(data.shape, data.classes.len(), 0.5)?;

    let adapters = pollster::block_on(Adapters::find());
    if adapters.is_empty() {
        return pollster::block_on(train_and_test(CpuEngine::new(&model, &data, Settings::default())?, &model));
    }
    let context = pollster::block_on(adapters.open(0, Default::default()))?;
    drive::block_on(&context, train_and_test(GpuEngine::new(&context, &model, &data, Settings::default())?, &model))
}

async fn train_and_test(mut engine: impl Engine, model: &Model) -> Result<(), Box<dyn Error>> {
    let start = Instant::now();
    let options = Options { batch_size: 32, epochs: 3, seed: 0, schedule: Schedule::constant(0.01), checkpoint_every: None };
    engine.set_state(&State::new(model, 0))?;
    let split = split(6_000, 0.1, 0);
    train::fit(&mut engine, &split, &options, &Position::default(), &|| start.elapsed(), &mut ()).await?;

    let test: Vec<u32> = (0..1_000).collect();
    let totals = train::evaluate(&mut engine, Set::Test, &test, 32, 3, &|| start.elapsed(), &mut ()).await?;
    println!("accuracy on digits that it has not seen: {:.4}", totals.accuracy());
    Ok(())
}
