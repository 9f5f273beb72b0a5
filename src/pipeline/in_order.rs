//! Tasks that run at once, and whose results are taken in the order in which they were begun.

use std::collections::BTreeMap;

use tokio::task::JoinSet;

/// Tasks in an order. Dropping it ends them.
#[derive(Debug)]
pub struct InOrder<T> {
    tasks: JoinSet<(u64, T)>,
    /// Results whose turn has not come.
    done: BTreeMap<u64, T>,
    begun: u64,
    taken: u64,
}

impl<T: Send + 'static> InOrder<T> {
    /// No tasks yet.
    pub fn new() -> Self {
        Self { tasks: JoinSet::new(), done: BTreeMap::new(), begun: 0, taken: 0 }
    }

    /// How many results are still to be taken.
    pub fn len(&self) -> usize {
        self.tasks.len() + self.done.len()
    }

    /// Begins the next task.
    pub fn push(&mut self, task: impl Future<Output = T> + Send + 'static) {
        let number = self.begun;
        self.begun += 1;
        self.tasks.spawn(async move { (number, task.await) });
    }

    /// The result of the task that was begun first among those that are left; none when there are none. Nothing is lost if
    /// the waiting ends early. A panic of a task goes on here.
    pub async fn next(&mut self) -> Option<T> {
        loop {
            if let Some(result) = self.done.remove(&self.taken) {
                self.taken += 1;
                return Some(result);
            }
            match self.tasks.join_next().await? {
                Ok((number, result)) => drop(self.done.insert(number, result)),
                Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
                // nobody aborts one of them; were it so, its turn would never come
                Err(_) => return None,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn results_come_in_the_order_of_beginning_whatever_takes_longer() {
        let mut tasks = InOrder::new();
        for millis in [30u64, 10, 20] {
            tasks.push(async move {
                tokio::time::sleep(Duration::from_millis(millis)).await;
                millis
            });
        }
        assert_eq!(tasks.len(), 3);
        let mut taken = Vec::new();
        while let Some(millis) = tasks.next().await {
            taken.push(millis);
        }
        assert_eq!((taken, tasks.len()), (vec![30, 10, 20], 0));
    }
}
