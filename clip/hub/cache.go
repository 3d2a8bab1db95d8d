package hub

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/clip-wgpu/clip-wgpu/internal/atomicfile"
	"github.com/clip-wgpu/clip-wgpu/internal/smallfile"
	"github.com/clip-wgpu/clip-wgpu/internal/sysfile"
)

// repoDir is a repository's folder in the cache: blobs/ETAG holds the contents,
// snapshots/COMMIT/FILE are links to them, refs/REVISION hold commits.
func (h *Hub) repoDir(r Ref) string {
	return filepath.Join(h.CacheDir, "models--"+strings.ReplaceAll(r.Repo, "/", "--"))
}

func (h *Hub) snapshotDir(r Ref, commit string) string {
	return filepath.Join(h.repoDir(r), "snapshots", commit)
}

func (h *Hub) refPath(r Ref) string {
	return filepath.Join(h.repoDir(r), "refs", filepath.FromSlash(r.Revision))
}

// cachedCommit is the commit that the cache has for a revision, or empty.
func (h *Hub) cachedCommit(r Ref) string {
	if commitPattern.MatchString(r.Revision) {
		return r.Revision
	}
	data, err := smallfile.Read(h.refPath(r), 1<<10)
	commit := strings.TrimSpace(string(data))
	if err != nil || commit == "." || !filepath.IsLocal(commit) || commit != filepath.Base(commit) {
		return ""
	}
	return commit // any name will do: someone may have made a snapshot by hand
}

// keepCommit records what a revision is.
func (h *Hub) keepCommit(r Ref, commit string) error {
	if h.cachedCommit(r) == commit {
		return nil
	}
	path := h.refPath(r)
	if err := h.makeDir(filepath.Dir(path)); err != nil {
		return err
	}
	if info, err := os.Lstat(path); err == nil && !info.Mode().IsRegular() {
		os.Remove(path) // the cache is ours: a link or pipe makes way, and where it cannot Write says so
	}
	return h.cacheError(atomicfile.Write(path, []byte(commit), true))
}

// snapshotFiles lists the files of a snapshot that are there, by their path in
// the repository.
func (h *Hub) snapshotFiles(r Ref, commit string) []string {
	return filesBelow(h.snapshotDir(r, commit), "", 8)
}

// filesBelow lists the files in a folder and in the folders within it. It follows
// links: the files of a snapshot are links, and a folder that someone moved to
// another disk may be one. The depth bounds links in a circle.
func filesBelow(dir, prefix string, depth int) (files []string) {
	entries, _ := os.ReadDir(dir)
	for _, e := range entries {
		name := filepath.Join(dir, e.Name())
		switch info, err := os.Stat(name); {
		case err != nil:
		case info.Mode().IsRegular():
			files = append(files, prefix+e.Name())
		case info.IsDir() && depth > 0:
			files = append(files, filesBelow(name, prefix+e.Name()+"/", depth-1)...)
		}
	}
	return files
}

// link makes a blob appear as a file of a snapshot: by a relative symbolic link or,
// where the system has none, a hard link; where it has neither, the blob itself is
// moved there.
func (h *Hub) link(r Ref, commit, file, etag string) error {
	path := filepath.Join(h.snapshotDir(r, commit), filepath.FromSlash(file))
	blob := filepath.Join(h.repoDir(r), "blobs", etag)
	if err := h.makeDir(filepath.Dir(path)); err != nil {
		return err
	}
	target, err := relative(filepath.Dir(path), blob)
	if err != nil {
		return h.cacheError(err)
	}
	err = os.Symlink(target, path)
	if errors.Is(err, fs.ErrExist) {
		if _, broken := os.Stat(path); broken == nil {
			return nil // another process was faster
		}
		os.Remove(path)
		err = os.Symlink(target, path)
	}
	if err != nil && os.Link(blob, path) != nil {
		err = os.Rename(blob, path)
	} else {
		err = nil
	}
	return h.cacheError(err)
}

// relative returns the path from dir to file. It resolves links first, because
// .. in a linked folder is the parent of the folder that the link leads to.
func relative(dir, file string) (string, error) {
	dir, err := filepath.EvalSymlinks(dir)
	if err != nil {
		return "", err
	}
	home, err := filepath.EvalSymlinks(filepath.Dir(file))
	if err != nil {
		return "", err
	}
	return filepath.Rel(dir, filepath.Join(home, filepath.Base(file)))
}

func (h *Hub) makeDir(path string) error { return h.cacheError(os.MkdirAll(path, 0o777)) }

// cacheError says of an error of the file system what to do.
func (h *Hub) cacheError(err error) error {
	switch {
	case err == nil:
		return nil
	case sysfile.IsFull(err):
		return fmt.Errorf("hub cache %s: %w; free some space or set HF_HUB_CACHE to a folder on another disk", h.CacheDir, err)
	}
	return fmt.Errorf("hub cache %s cannot be written: %w; set HF_HUB_CACHE to a folder that can", h.CacheDir, err)
}
