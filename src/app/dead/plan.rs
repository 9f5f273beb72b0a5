//! `dead plan` and `dead show`: what would come of letters today. Nothing is sent but a question what the target can do.

use serde_json::{Value, json};

use super::desk::{Chosen, Desk, Place, broker_failed};
use super::index::refresh;
use super::lock::Lock;
use super::reading::{Said, name_resource, read};
use crate::app::forecast::{Totals, forecast, load, rules, totals_text};
use crate::app::{Failure, failed};
use crate::broker::scan::{Found, Pass};
use crate::cli::{Exit, Look};
use crate::core::change::Change;
use crate::core::foresee::{Foreseen, Foresight};
use crate::core::gap::Rules;
use crate::ops::letter;
use crate::pipeline::ports::{Loaded, Store};

/// Letters foreseen at once.
const CHUNK: usize = 200;

impl Desk {
    /// Foresees letters, in the order given.
    pub(super) async fn foresee(&self, letters: &[Found], rules: &Rules) -> Result<Vec<Foreseen>, Failure> {
        let said: Vec<Said> =
            letters.iter().map(|found| read(found, &self.settings, self.now()).said).collect();
        let changes: Vec<&Change> = said.iter().filter_map(Said::change).collect();
        let mut forecast = forecast(&self.store, &changes, rules, &self.settings).await?.into_iter();
        let fails = |why: String| Foreseen { verdict: Foresight::WouldFail, why };
        let foreseen = said.iter().map(|said| match said {
            Said::Change(_) => {
                forecast.next().unwrap_or_else(|| fails("its record could not be read".into()))
            }
            Said::Ignored => {
                Foreseen { verdict: Foresight::AlreadyTrue, why: "it says nothing to the relay".into() }
            }
            Said::Refused(refusal) => fails(refusal.detail.clone()),
            Said::Unsendable(why) => fails(why.clone()),
        });
        Ok(foreseen.collect())
    }

    /// Foresees the chosen letters in one pass over the queue, and hands each over.
    pub(super) async fn foresee_all(
        &self,
        place: Place,
        chosen: &Chosen,
        rules: &Rules,
        mut take: impl FnMut(&Found, &Foreseen),
    ) -> Result<Totals, Failure> {
        let mut totals = Totals::new();
        let (mut letters, mut left) = (Vec::new(), chosen.ids.len());
        let pass = Pass::begin(&self.broker, &self.queue(place)).await.map_err(broker_failed)?;
        let mut pass = pass.expecting(left);
        loop {
            let found = match left {
                0 => None,
                _ => pass.next().await.map_err(broker_failed)?,
            };
            let done = found.is_none();
            letters.extend(found.filter(|found| chosen.ids.contains(&found.head.id)).inspect(|_| left -= 1));
            if letters.len() >= CHUNK || (done && !letters.is_empty()) {
                for found in &mut letters {
                    name_resource(found, &self.settings, self.now());
                }
                for (found, foreseen) in letters.iter().zip(self.foresee(&letters, rules).await?) {
                    *totals.entry(foreseen.verdict).or_default() += 1;
                    take(found, &foreseen);
                }
                letters.clear();
            }
            if done {
                pass.end().await.map_err(broker_failed)?;
                return Ok(totals);
            }
        }
    }
}

/// A letter with its verdict, for programs.
fn planned_json(found: &Found, foreseen: &Foreseen) -> Value {
    let mut line = json!(found.head);
    line["verdict"] = json!(foreseen.verdict);
    if !foreseen.why.is_empty() {
        line["why"] = json!(foreseen.why);
    }
    line
}

/// `dead plan`.
pub(super) async fn plan(desk: &Desk, look: &Look) -> Result<Exit, Failure> {
    look_at(desk, look, |found, foreseen| match look.json.json {
        true => println!("{}", planned_json(found, foreseen)),
        false => println!("{}", letter::planned(&found.head, foreseen)),
    })
    .await
}

/// `dead show`.
pub(super) async fn show(desk: &Desk, look: &Look) -> Result<Exit, Failure> {
    if !desk.selection(&look.select)?.is_a_choice() {
        let text = "which letter? give its ID, which `scim-relay dead list` shows, or a filter";
        return Err((text.into(), Exit::Usage));
    }
    let mut shown = Vec::new();
    let exit = look_at(desk, look, |found, foreseen| shown.push((found.clone(), foreseen.clone()))).await?;
    for (found, foreseen) in shown {
        let text =
            if look.json.json { full_json(&found, &foreseen) } else { full(desk, &found, &foreseen).await? };
        println!("{text}");
    }
    Ok(exit)
}

fn full_json(found: &Found, foreseen: &Foreseen) -> String {
    let mut line = planned_json(found, foreseen);
    match serde_json::from_slice::<Value>(&found.message.body) {
        Ok(body) => line["body"] = body,
        Err(_) => line["body_base64"] = json!(super::export::base64(&found.message.body)),
    }
    line.to_string()
}

async fn full(desk: &Desk, found: &Found, foreseen: &Foreseen) -> Result<String, Failure> {
    let body = match serde_json::from_slice::<Value>(&found.message.body) {
        Ok(body) => serde_json::to_string_pretty(&body).map_err(failed)?,
        Err(_) => letter::printable(&String::from_utf8_lossy(&found.message.body)),
    };
    let why = if foreseen.why.is_empty() { String::new() } else { format!(": {}", foreseen.why) };
    let known = match read(found, &desk.settings, desk.now()).said {
        Said::Change(change) => known(desk, &change).await?,
        Said::Ignored | Said::Refused(_) | Said::Unsendable(_) => String::new(),
    };
    let headers = letter::headers(&found.head);
    Ok(format!("{headers}\n{body}\n\n{known}now              {}{why}\n", foreseen.verdict.name()))
}

/// What is known about a letter's resource today, without values.
async fn known(desk: &Desk, change: &Change) -> Result<String, Failure> {
    let Some(Loaded { record, .. }) = desk.store.load(&[load(change)]).await.map_err(failed)?.pop() else {
        return Ok(String::new());
    };
    let id = record.id.as_ref().map_or("not known", |id| id.as_str());
    let outcome = match &record.trouble {
        Some(trouble) => {
            let status = trouble.status.map(|status| format!(" ({status})")).unwrap_or_default();
            let at = crate::pipeline::letters::rfc3339(trouble.last_failed_at);
            format!("{}{status} at {at}, attempt {}", trouble.class, trouble.attempt)
        }
        None if record.applied.is_some() => "applied".to_owned(),
        None => "nothing is open".to_owned(),
    };
    Ok(format!("target id        {}\nlast outcome     {outcome}\n", letter::printable(id)))
}

async fn look_at(desk: &Desk, look: &Look, take: impl FnMut(&Found, &Foreseen)) -> Result<Exit, Failure> {
    let (place, selection) = (Place::of(look.select.parked), desk.selection(&look.select)?);
    Lock::within(desk, &desk.queue(place), "plan", async |lock| {
        refresh(desk, place, lock).await?;
        let chosen = desk.choose(place, &selection).await?;
        let rules = rules(&desk.config, &desk.settings, &desk.store).await?;
        let totals = desk.foresee_all(place, &chosen, &rules, take).await?;
        eprintln!("{}", totals_text(&totals));
        Ok(chosen.report_missing())
    })
    .await
}
