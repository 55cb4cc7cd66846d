//! llvmpipe's workers, kept on a core each. It starts one per core, up to a limit, and wakes them all for each dispatch; the system often wakes
//! two on one core, and then the second waits for all that the first does, 1 to 3 ms, which is too short for anyone to move it.

use procfs::process::{Process, Task};
use rustix::thread::{CpuSet, Pid, sched_getaffinity, sched_setaffinity};

/// The threads of this process that bear the name of the one that asks. A driver's nameless threads do: they inherit it.
pub struct Threads(Vec<i32>);

impl Threads {
    /// In the order in which they were started. Empty where they cannot be listed.
    pub fn now() -> Self {
        let name = rustix::thread::name().unwrap_or_default();
        let nameless = |task: &Task| task.stat().is_ok_and(|stat| stat.comm.as_bytes() == name.as_bytes());
        let tasks = Process::myself().and_then(|process| process.tasks());
        let mut ids: Vec<i32> = tasks.into_iter().flatten().flatten().filter(nameless).map(|task| task.tid).collect();
        ids.sort_unstable();
        Self(ids)
    }

    /// Keeps each worker started since then on a core of its own, where there are as many as cores: fewer would leave the same cores idle in
    /// every process. The first new thread is the queue's: it compiles, and stays free to go where there is room. Workers that cannot
    /// be kept compute all the same.
    pub fn pin_newer(&self) {
        let Ok(allowed) = sched_getaffinity(None) else { return };
        let cores: Vec<usize> = (0..CpuSet::MAX_CPU).filter(|&core| allowed.is_set(core)).collect();
        let workers: Vec<i32> = Self::now().0.into_iter().filter(|id| !self.0.contains(id)).skip(1).collect();
        if workers.len() != cores.len() {
            log::debug!("{} workers may go where they want on {} cores", workers.len(), cores.len());
            return;
        }
        for (id, core) in workers.into_iter().zip(cores) {
            let mut only = CpuSet::new();
            only.set(core);
            match sched_setaffinity(Pid::from_raw(id), &only) {
                Ok(()) => log::debug!("thread {id} stays on core {core}"),
                Err(error) => log::debug!("thread {id} does not stay on core {core}: {error}"),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gpu::{Adapters, Options};

    #[test]
    fn llvmpipe_has_a_worker_on_every_core() {
        let adapters = pollster::block_on(Adapters::find());
        assert!(!adapters.is_empty(), "{}", Adapters::none_found());
        let context = pollster::block_on(adapters.open(0, Options::default())).expect("the device opens");
        if context.info.driver != "llvmpipe" {
            return; // other drivers are left alone
        }
        let tasks = Process::myself().and_then(|process| process.tasks()).expect("this process's threads");
        let only: Vec<CpuSet> = tasks
            .flatten()
            .filter_map(|task| sched_getaffinity(Pid::from_raw(task.tid)).ok())
            .filter(|allowed| allowed.count() == 1)
            .collect();
        let allowed = sched_getaffinity(None).expect("this thread's cores");
        if std::env::var_os("LP_NUM_THREADS").is_some() || allowed.count() > 16 {
            return; // the driver may start fewer workers than there are cores
        }
        for core in (0..CpuSet::MAX_CPU).filter(|&core| allowed.is_set(core)) {
            assert!(only.iter().any(|kept| kept.is_set(core)), "no thread stays on core {core}");
        }
    }
}
