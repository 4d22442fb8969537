//! A log file that is put aside when it is full, named and cleaned up as kube-apiserver's. The
//! crates for it keep files by number or by age, not by both, or give up at the first full disk.

use std::{
    cmp::Reverse,
    fs::{self, File, OpenOptions},
    io::{self, Write as _},
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
    time::Duration,
};

use k8s_openapi::jiff::{Timestamp, civil::DateTime, tz::TimeZone};

/// In the names of files that were put aside; UTC.
const TIME: &str = "%Y-%m-%dT%H-%M-%S%.3f";

/// When files are put aside and how long they stay.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Rotation {
    /// Bytes; 0: never.
    pub(crate) bytes: u64,
    /// Files; 0: all.
    pub(crate) backups: usize,
    /// Zero: for ever.
    pub(crate) age: Duration,
}

/// The file that is written to.
#[derive(Debug)]
pub(super) struct RotatingFile {
    path: PathBuf,
    rotation: Rotation,
    file: Option<File>,
    size: u64,
    /// A write failed in the middle of a line.
    is_torn: bool,
}

impl RotatingFile {
    /// Opens the file, or says at once that it cannot be written.
    pub(super) fn open(path: PathBuf, rotation: Rotation) -> io::Result<Self> {
        let mut opened = Self {
            path,
            rotation,
            file: None,
            size: 0,
            is_torn: false,
        };
        opened.reopen()?;
        opened.clean_up();
        Ok(opened)
    }

    /// Writes lines as a whole, as far as that can be said of a disk.
    pub(super) fn write(&mut self, lines: &[u8]) -> io::Result<()> {
        let length = u64::try_from(lines.len()).unwrap_or(u64::MAX);
        let is_full = self.rotation.bytes > 0
            && self.size > 0
            && self.size.saturating_add(length) > self.rotation.bytes;
        if is_full {
            self.rotate()?;
        }
        let is_torn = self.is_torn;
        let file = self.reopen()?;
        let written = if is_torn {
            file.write_all(b"\n").and_then(|()| file.write_all(lines))
        } else {
            file.write_all(lines)
        };
        self.is_torn = written.is_err();
        if self.is_torn {
            // Perhaps it can be opened again.
            self.file = None;
        } else {
            self.size = self.size.saturating_add(length);
        }
        written
    }

    fn reopen(&mut self) -> io::Result<&mut File> {
        if let Some(file) = self.file.take() {
            return Ok(self.file.insert(file));
        }
        if let Some(folder) = self.path.parent() {
            let mut builder = fs::DirBuilder::new();
            builder.recursive(true).mode(0o700).create(folder)?;
        }
        let mut options = OpenOptions::new();
        options.append(true).create(true).mode(0o600);
        let file = options.open(&self.path)?;
        self.size = file.metadata()?.len();
        Ok(self.file.insert(file))
    }

    fn rotate(&mut self) -> io::Result<()> {
        self.file = None;
        // Names have milliseconds and their order counts, whatever the clock says.
        let newest = self.backups().into_iter().map(|(time, _)| time).max();
        let next = newest.map(|time| time.saturating_add(Duration::from_millis(1)));
        let time = next.into_iter().flatten().fold(Timestamp::now(), Ord::max);
        fs::rename(&self.path, self.aside(time))?;
        self.size = 0;
        self.clean_up();
        Ok(())
    }

    fn aside(&self, time: Timestamp) -> PathBuf {
        let (stem, extension) = self.name();
        let time = time.strftime(TIME);
        self.path
            .with_file_name(format!("{stem}-{time}{extension}"))
    }

    /// `audit` and `.log`.
    fn name(&self) -> (String, String) {
        let text = |part: Option<&std::ffi::OsStr>| {
            part.unwrap_or_default().to_string_lossy().into_owned()
        };
        let extension = text(self.path.extension());
        let extension = if extension.is_empty() {
            extension
        } else {
            format!(".{extension}")
        };
        (text(self.path.file_stem()), extension)
    }

    /// A file that cannot be removed now is tried again the next time.
    fn clean_up(&self) {
        let mut found = self.backups();
        found.sort_unstable_by_key(|(time, _)| Reverse(*time));
        let Rotation { backups, age, .. } = self.rotation;
        for (place, (time, path)) in found.into_iter().enumerate() {
            let lived = Timestamp::now().duration_since(time);
            let is_old = age > Duration::ZERO && lived.unsigned_abs() > age && lived.is_positive();
            let is_over = backups > 0 && place >= backups;
            if (is_old || is_over)
                && let Err(error) = fs::remove_file(&path)
            {
                tracing::warn!(%error, "an old audit log cannot be removed");
            }
        }
    }

    fn backups(&self) -> Vec<(Timestamp, PathBuf)> {
        let folder = match self.path.parent() {
            Some(folder) if folder != Path::new("") => folder,
            _ => Path::new("."),
        };
        let (stem, extension) = self.name();
        let time_of = |name: &str| {
            let time = name.strip_prefix(&stem)?.strip_prefix('-')?;
            let time = time.strip_suffix(&extension)?;
            let time = DateTime::strptime(TIME, time).ok()?;
            Some(time.to_zoned(TimeZone::UTC).ok()?.timestamp())
        };
        let entries = fs::read_dir(folder).into_iter().flatten().flatten();
        entries
            .filter_map(|entry| {
                Some((time_of(&entry.file_name().to_string_lossy())?, entry.path()))
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn files(folder: &Path) -> Vec<String> {
        let entries = fs::read_dir(folder).unwrap().flatten();
        let mut names: Vec<_> = entries
            .map(|entry| entry.file_name().to_string_lossy().into_owned())
            .collect();
        names.sort();
        names
    }

    fn rotation(bytes: u64, backups: usize) -> Rotation {
        Rotation {
            bytes,
            backups,
            age: Duration::from_hours(24),
        }
    }

    #[test]
    fn full_files_are_put_aside_and_old_ones_removed() {
        let folder = tempfile::tempdir().unwrap();
        let old = folder.path().join("audit-2020-01-01T00-00-00.000.log");
        let foreign = folder.path().join("audit-other.log");
        fs::write(&old, "old").unwrap();
        fs::write(&foreign, "foreign").unwrap();
        let path = folder.path().join("audit.log");
        fs::write(&path, "12345\n").unwrap();
        let mut file = RotatingFile::open(path.clone(), rotation(10, 2)).unwrap();
        assert!(!old.exists());
        for n in 0..5 {
            file.write(format!("line {n}\n").as_bytes()).unwrap();
        }
        let names = files(folder.path());
        assert_eq!(names.len(), 4, "{names:?}");
        assert!(foreign.exists());
        assert_eq!(fs::read_to_string(&path).unwrap(), "line 4\n");
        let newest = folder.path().join(&names[1]);
        assert_eq!(fs::read_to_string(newest).unwrap(), "line 3\n");
        let mode =
            std::os::unix::fs::PermissionsExt::mode(&fs::metadata(&path).unwrap().permissions());
        assert_eq!(mode & 0o077, mode & 0o077 & 0o044, "{mode:o}");
    }

    #[test]
    fn a_line_larger_than_a_file_is_written_all_the_same() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("new/audit");
        let mut file = RotatingFile::open(path.clone(), rotation(3, 0)).unwrap();
        file.write(b"a long line\n").unwrap();
        file.write(b"another\n").unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "another\n");
        assert_eq!(files(path.parent().unwrap()).len(), 2);
    }

    #[test]
    fn a_file_that_cannot_be_opened_is_an_error() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().to_owned();
        assert!(RotatingFile::open(path, rotation(0, 0)).is_err());
    }

    #[test]
    fn a_full_disk_is_survived() {
        let Ok(mut file) = RotatingFile::open(PathBuf::from("/dev/full"), rotation(0, 0)) else {
            return;
        };
        assert!(file.write(b"line\n").is_err());
        assert!(file.is_torn && file.file.is_none());
    }
}
