// open_backing_file: a private file with its space reserved, for pages that leave memory.
// Thread-safety: may be called from any thread; it blocks and allocates. SIGXFSZ is kept from the caller's thread.
#pragma once

#include <cstdint>
#include <string>

#include "os/file.h"
#include "vmm/result.h"

namespace vmm::os {

struct BackingFileRequest {
  std::string directory;
  std::string name;         // whose file it is: for messages, and for the name of a kept file
  std::uint64_t bytes = 0;  // a positive multiple of kPageSize
  bool persist = false;
};

struct BackingFile {
  FileDescriptor file;     // read-write, close-on-exec, mode 0600
  bool direct_io = false;  // O_DIRECT is on; kPageSize is all the alignment it needs
  std::string path;        // empty: the file has no name and ends with its descriptor
};

// Makes the file and reserves its space with fallocate; where the file system cannot do that, by writing zeros
// (which takes the time of writing them). Without `persist` the file never has a name (O_TMPFILE), or, on file
// systems without O_TMPFILE, has one for an instant. With it the name is <directory>/<name>.<pid>.vswp (each
// character of name but letters, digits, '-', '_', '.' replaced by '_') and the file must not exist.
// O_DIRECT is set if a trial write and read of one page succeed with it.
// Errors, naming directory and size: EINVAL (bytes, empty directory), ENOENT, ENOTDIR, EACCES, EROFS, EEXIST,
// ENOSPC, EDQUOT, EFBIG (RLIMIT_FSIZE or the file system's limit), EMFILE, any errno of pwrite. On error nothing
// is left in the directory.
Result<BackingFile> open_backing_file(const BackingFileRequest& request);

// Reserves more space for a file that has `from` bytes of it, so that it has request.bytes. The rest of the request is for
// messages. Errors: as open_backing_file. On error the file has the space that it had.
Result<void> grow_backing_file(int fd, std::uint64_t from, const BackingFileRequest& request);

// To be called before a file without a name is closed. Its contents are no longer needed; its extents are made few
// again. Pages written here and there leave an extent for each, and a file system that is mounted with `discard`
// tells the device of them one by one: the close of half a gigabyte took 8 s and more, and after this 0.1 s.
void forget_contents(int fd, std::uint64_t bytes) noexcept;

}  // namespace vmm::os
