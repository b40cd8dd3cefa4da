//! `palisade-node`: reads the command line, sets up logs and the runtime, and hands over.

use anyhow::{Context, Result};
use clap::Parser;
use palisade_netfilter::Netfilter;
use palisade_node::{
    arguments::{Arguments, Command, Explain, Format, Status, Uninstall},
    enforce::{
        self,
        saved::{NamespaceInUse, lock_namespace, namespace_holder},
    },
    guard,
    local::{Answer, Encoded, Question, client::ask},
    log,
    purge::{Purged, purge},
    run,
};
use palisade_policy::explain::words::Words;
use palisade_proto::{
    explained,
    v1::{ExplainResponse, Verdict},
};
use std::{
    io::{self, IsTerminal, Write},
    path::Path,
    process::ExitCode,
    time::Duration,
};

/// How long the end of the process waits for its log to be written.
const LOG: Duration = Duration::from_secs(1);
/// Exit code of wrong usage.
const USAGE: u8 = 2;
/// Exit code of a packet that does not get through.
const DENIED: u8 = 3;

fn main() -> ExitCode {
    let code = match perform(Arguments::parse()) {
        Ok(code) => code,
        Err(err) => {
            log::stderr().put(format!("error: {err:#}\n").as_bytes());
            ExitCode::FAILURE
        }
    };
    log::stderr().settle(LOG);
    code
}

fn perform(arguments: Arguments) -> Result<ExitCode> {
    tracing_subscriber::fmt()
        .with_env_filter(
            tracing_subscriber::EnvFilter::try_from_default_env().unwrap_or_else(|_| "info".into()),
        )
        .with_ansi(std::io::stderr().is_terminal())
        .with_writer(log::stderr)
        .init();
    let runtime = || {
        tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .context("start the runtime")
    };
    match arguments.command {
        Command::Run(arguments) => {
            let stored = run::stored();
            runtime()?.block_on(run::run(arguments, stored))?;
        }
        Command::Guard(arguments) => {
            say(&runtime()?.block_on(guard::guard(&arguments))?)?;
        }
        Command::Status(arguments) => return status(&arguments),
        Command::Explain(arguments) => return explain(arguments),
        Command::Uninstall(arguments) => uninstall(&arguments)?,
        Command::Version => say(&format!("palisade-node {}", env!("CARGO_PKG_VERSION")))?,
    }
    Ok(ExitCode::SUCCESS)
}

/// A line for people. Whoever has read enough may close the pipe.
fn say(line: &str) -> Result<()> {
    match writeln!(std::io::stdout(), "{line}") {
        Err(err) if err.kind() != io::ErrorKind::BrokenPipe => {
            Err(err).context("write to standard output")
        }
        _ => Ok(()),
    }
}

fn status(arguments: &Status) -> Result<ExitCode> {
    let dir = &arguments.state_dir;
    let answer = ask(dir, Question::Status).with_context(|| format!("ask `{}`", dir.display()))?;
    let status = match answer {
        Some(Answer::Status(status)) => status,
        Some(Answer::Failed(why)) => anyhow::bail!("{why}"),
        Some(_) => anyhow::bail!("the daemon answered something else"),
        None => return Err(unheard(dir)),
    };
    if arguments.json {
        say(&serde_json::to_string_pretty(&status)?)?;
    } else {
        say(status.to_string().trim_end())?;
    }
    Ok(if status.ready {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// Nobody answers at the socket.
fn unheard(dir: &Path) -> anyhow::Error {
    let dir = dir.display();
    match namespace_holder() {
        Ok(Some(pid)) => anyhow::anyhow!(
            "no daemon answers in `{dir}`, but process {pid} enforces in this network namespace: name its state \
             directory, or read its log if this is it"
        ),
        Ok(None) | Err(_) => anyhow::anyhow!("no daemon answers in `{dir}`"),
    }
}

fn explain(arguments: Explain) -> Result<ExitCode> {
    let (dir, format) = (arguments.state_dir, arguments.output);
    let words = Words {
        in_interface: arguments.in_interface,
        out_interface: arguments.out_interface,
        proto: arguments.proto,
        src: arguments.src,
        dst: arguments.dst,
        icmp_type: arguments.icmp_type,
        icmp_code: arguments.icmp_code,
        plugins: arguments.plugins,
    };
    let request = match words.request(String::new()) {
        Ok(request) => request,
        Err(words) => {
            let hint = words.hint().map(|hint| format!("\nhint: {hint}"));
            return Ok(misused(&format!("{words}{}", hint.unwrap_or_default())));
        }
    };
    let question = Question::Explain(Box::new(Encoded(request)));
    let answer = ask(&dir, question).with_context(|| format!("ask `{}`", dir.display()))?;
    let answer = match answer {
        Some(Answer::Explained(answer)) => answer.0,
        Some(Answer::Misused(why)) => return Ok(misused(&why)),
        Some(Answer::Failed(why)) => anyhow::bail!("{why}"),
        Some(_) => anyhow::bail!("the daemon answered something else"),
        None => return Err(unheard(&dir)),
    };
    say(show(format, &answer)?.trim_end())?;
    Ok(match answer.verdict() {
        Verdict::Accept => ExitCode::SUCCESS,
        _ => ExitCode::from(DENIED),
    })
}

fn show(format: Format, answer: &ExplainResponse) -> Result<String> {
    Ok(match format {
        Format::Table => explained::text(answer),
        Format::Json => serde_json::to_string_pretty(&explained::value(answer))?,
        Format::Yaml => serde_saphyr::to_string(&explained::value(answer))?,
        Format::Name => explained::line(answer),
    })
}

/// Says what is wrong with the command line, as clap does.
fn misused(why: &str) -> ExitCode {
    log::stderr().put(format!("error: {why}\n").as_bytes());
    ExitCode::from(USAGE)
}

/// A daemon that runs removes its tables itself: they are its own, and it would repair what others remove.
fn uninstall(arguments: &Uninstall) -> Result<()> {
    let dir = arguments.state_dir.as_deref();
    let answer = match dir {
        Some(dir) => ask(dir, Question::Uninstall)
            .with_context(|| format!("ask the daemon of `{}`", dir.display()))?,
        None => None,
    };
    let removed = match answer {
        Some(Answer::Uninstalled { removed }) => removed,
        Some(Answer::Failed(why)) => anyhow::bail!("{why}"),
        Some(_) => anyhow::bail!("the daemon answered something else"),
        None => {
            let _alone = lock_namespace().map_err(|err| unanswered(err, dir))?;
            let mut kernel = Netfilter::open().context("open a netfilter socket")?;
            enforce::uninstall(&mut kernel).context("remove our tables")?
        }
    };
    if removed {
        say("tables removed; nothing is enforced")?;
    } else {
        say("no tables of ours")?;
    }
    match dir {
        Some(dir) if arguments.purge => say(&purged(dir)?),
        Some(dir) => say(&format!(
            "what is saved in `{}` is kept, and `palisade-node guard` or `run` enforces it again: --purge removes it",
            dir.display()
        )),
        None => Ok(()),
    }
}

fn purged(dir: &Path) -> Result<String> {
    let purged = purge(dir).with_context(|| format!("purge `{}`", dir.display()))?;
    let dir = dir.display();
    Ok(match purged {
        Purged::Whole => format!("`{dir}` removed"),
        Purged::Absent => format!("there is no `{dir}`: nothing was saved there"),
        Purged::Kept(others) => {
            let others: Vec<_> = others
                .iter()
                .map(|path| path.display().to_string())
                .collect();
            format!(
                "what palisade-node kept in `{dir}` is removed; these are not ours and stay: {}",
                others.join(", ")
            )
        }
    })
}

/// A daemon is at work that nobody can ask: what to do so that nothing repairs what is removed.
fn unanswered(err: io::Error, dir: Option<&Path>) -> anyhow::Error {
    let holder = err.get_ref().and_then(|err| err.downcast_ref());
    let Some(NamespaceInUse { pid }) = holder else {
        return anyhow::Error::new(err).context("see whether a daemon is at work");
    };
    let end = format!("stop its service (`systemctl stop palisade-node`) or `kill {pid}`");
    match dir {
        None => anyhow::anyhow!(
            "process {pid} enforces in this network namespace: name its state directory with --state-dir, or {end} and \
             run this again"
        ),
        Some(dir) => anyhow::anyhow!(
            "process {pid} enforces in this network namespace, and answers at no socket in `{}`: {end}, then run this \
             again, which removes the rules that it leaves; if it has another state directory, name that with --state-dir",
            dir.display()
        ),
    }
}
