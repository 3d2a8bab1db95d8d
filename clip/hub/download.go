package hub

import (
	"context"
	"crypto/sha1"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/clip-wgpu/clip-wgpu/internal/atomicfile"
	"github.com/clip-wgpu/clip-wgpu/internal/sysfile"
)

// blob is what the hub says about the content of a file.
type blob struct {
	ref  Ref // at a commit
	file string
	etag string // the SHA-256 of files in large file storage, else git's hash of the blob
	size int64  // -1: unknown
}

var etagPattern = regexp.MustCompile(`^([0-9a-f]{40}|[0-9a-f]{64})$`)

// lookUp asks what a file is. The commit is the one that the hub answers for.
func (h *Hub) lookUp(ctx context.Context, r Ref, file string) (b blob, commit string, err error) {
	u := h.resolveURL(r, file)
	err = h.retry(ctx, maxAttempts, func() (bool, error) {
		// The redirect to where large files lie says what they are.
		isMetadata := func(a *http.Response) bool { return a.Header.Get("X-Linked-Etag") != "" }
		a, err := h.send(ctx, http.MethodHead, u, nil, isMetadata)
		if err != nil {
			return false, err
		}
		defer a.Close()
		if a.StatusCode >= 400 || !isMetadata(a.Response) && a.StatusCode >= 300 {
			return false, h.status(a.Response, u.Redacted(), r)
		}
		b, commit = blob{ref: r, file: file, size: -1}, a.Header.Get("X-Repo-Commit")
		etag := firstOf(a.Header.Get("X-Linked-Etag"), a.Header.Get("ETag"))
		b.etag = strings.Trim(strings.TrimPrefix(etag, "W/"), `"`)
		if !etagPattern.MatchString(b.etag) {
			return false, fmt.Errorf("%w: %s: ETag %q is no checksum; check HF_ENDPOINT and proxies", ErrServer, u.Redacted(), etag)
		}
		size := a.Header.Get("X-Linked-Size")
		if size == "" && a.StatusCode < 300 {
			size = a.Header.Get("Content-Length")
		}
		if n, err := strconv.ParseInt(size, 10, 64); err == nil && n >= 0 {
			b.size = n
		}
		if !commitPattern.MatchString(commit) {
			return false, fmt.Errorf("%w: %s: no X-Repo-Commit, so this is no hub; check HF_ENDPOINT and proxies", ErrServer, u.Redacted())
		}
		return false, nil
	})
	return b, commit, err
}

// fetch brings a blob into the cache, unless it is there.
func (h *Hub) fetch(ctx context.Context, b blob) error {
	path := filepath.Join(h.repoDir(b.ref), "blobs", b.etag)
	if isRegular(path) {
		return nil
	}
	if err := h.makeDir(filepath.Dir(path)); err != nil {
		return err
	}
	unlock, err := h.lock(ctx, b)
	if err != nil {
		return err
	}
	defer unlock()
	if isRegular(path) {
		return nil // another process fetched it meanwhile
	}
	// Only the holder of the lock writes here; what stays is resumed.
	part, err := os.OpenFile(path+".incomplete", os.O_RDWR|os.O_CREATE, 0o666)
	if err != nil {
		return h.cacheError(err)
	}
	err = h.fill(ctx, part, b)
	if err == nil {
		err = h.cacheError(part.Sync())
	}
	if err = errors.Join(err, part.Close()); err != nil {
		info, none := os.Stat(part.Name())
		if errors.Is(err, ErrDamaged) || sysfile.IsFull(err) || none == nil && info.Size() == 0 {
			os.Remove(part.Name())
		}
		return err
	}
	return h.cacheError(atomicfile.Rename(part.Name(), path))
}

func isRegular(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.Mode().IsRegular()
}

// lock waits for the lock that Python's library takes for a blob.
func (h *Hub) lock(ctx context.Context, b blob) (unlock func(), err error) {
	path := filepath.Join(h.CacheDir, ".locks", filepath.Base(h.repoDir(b.ref)), b.etag+".lock")
	if err := h.makeDir(filepath.Dir(path)); err != nil {
		return nil, err
	}
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o666)
	if err != nil {
		return nil, h.cacheError(err)
	}
	for {
		locked, err := sysfile.TryLock(f)
		if err == nil && !locked {
			err = sleep(ctx, 100*time.Millisecond)
		}
		if err != nil {
			f.Close()
			return nil, err
		}
		if locked {
			return func() { f.Close() }, nil
		}
	}
}

// restart is how many new bytes make a stopped download worth another full
// round of attempts.
const restart = 8 << 20

// fill downloads what part lacks of b, and checks the whole.
func (h *Hub) fill(ctx context.Context, part *os.File, b blob) error {
	u := h.resolveURL(b.ref, b.file)
	resumed, err := part.Seek(0, io.SeekEnd)
	if err != nil {
		return h.cacheError(err)
	}
	err = h.retry(ctx, maxAttempts, func() (bool, error) {
		before, err := part.Seek(0, io.SeekEnd)
		if err != nil {
			return false, h.cacheError(err)
		}
		err = h.append(ctx, part, &b, before)
		after, _ := part.Seek(0, io.SeekEnd)
		return after-before >= restart, err
	})
	if err != nil {
		return err
	}
	err = verify(ctx, part, b)
	if errors.Is(err, ErrDamaged) && resumed > 0 { // what an earlier run left may be at fault
		if err := part.Truncate(0); err != nil {
			return h.cacheError(err)
		}
		return h.fill(ctx, part, b)
	}
	if err != nil {
		return fmt.Errorf("%s: %w", u.Redacted(), err)
	}
	return nil
}

// append asks for the bytes of b from offset on and adds them to part.
func (h *Hub) append(ctx context.Context, part *os.File, b *blob, offset int64) error {
	if b.size >= 0 && offset == b.size {
		return nil
	}
	u := h.resolveURL(b.ref, b.file)
	header := http.Header{}
	if offset > 0 {
		header.Set("Range", fmt.Sprintf("bytes=%d-", offset))
	}
	a, err := h.send(ctx, http.MethodGet, u, header, func(*http.Response) bool { return false })
	if err != nil {
		return err
	}
	defer a.Close()
	if a.StatusCode != http.StatusRequestedRangeNotSatisfiable {
		if err := h.status(a.Response, u.Redacted(), b.ref); err != nil {
			return err
		}
	}
	if a.StatusCode != http.StatusPartialContent || !strings.HasPrefix(a.Header.Get("Content-Range"), fmt.Sprintf("bytes %d-", offset)) {
		if err := truncate(part, offset); err != nil {
			return h.cacheError(err)
		}
		if a.StatusCode != http.StatusOK { // not the range that was asked for
			return transient(fmt.Errorf("%w: %s: cannot go on at byte %d", ErrServer, u.Redacted(), offset))
		}
		offset = 0
	}
	if a.ContentLength >= 0 {
		total := offset + a.ContentLength
		if b.size < 0 {
			b.size = total
		}
		if total != b.size {
			return fmt.Errorf("%w: %s: the server sends %d bytes of a file of %d; try again later", ErrDamaged, u.Redacted(), total, b.size)
		}
	}
	return h.copy(ctx, part, a, b, offset)
}

// truncate empties a file that has some bytes.
func truncate(f *os.File, size int64) error {
	if size == 0 {
		return nil
	}
	return f.Truncate(0)
}

// copy adds a response's body to part.
func (h *Hub) copy(ctx context.Context, part *os.File, a *answer, b *blob, offset int64) error {
	u := h.resolveURL(b.ref, b.file)
	if _, err := part.Seek(offset, io.SeekStart); err != nil {
		return h.cacheError(err)
	}
	buffer := make([]byte, 1<<20)
	for {
		n, err := a.Read(buffer)
		if b.size >= 0 && offset+int64(n) > b.size {
			return fmt.Errorf("%w: %s: the server sends more than the %d bytes of the file; try again later", ErrDamaged, u.Redacted(), b.size)
		}
		if _, err := part.Write(buffer[:n]); err != nil {
			return h.cacheError(err)
		}
		offset += int64(n)
		if h.Progress != nil && n > 0 {
			h.Progress(b.file, offset, b.size)
		}
		switch {
		case err == io.EOF && (b.size < 0 || offset == b.size):
			b.size = offset
			return nil
		case err == io.EOF:
			err = io.ErrUnexpectedEOF
			fallthrough
		case err != nil:
			return transient(fmt.Errorf("%w: %s: stopped after %d of %d bytes: %w", ErrServer, u.Redacted(), offset, b.size, err))
		}
	}
}

// verify compares part's length and checksum with what the hub says.
func verify(ctx context.Context, part *os.File, b blob) error {
	size, err := part.Seek(0, io.SeekEnd)
	if err == nil {
		_, err = part.Seek(0, io.SeekStart)
	}
	if err != nil {
		return err
	}
	if b.size >= 0 && size != b.size {
		return fmt.Errorf("%w: it has %d bytes, want %d", ErrDamaged, size, b.size)
	}
	var sum hash.Hash = sha256.New()
	if len(b.etag) == 2*sha1.Size { // git's hash of a blob
		sum = sha1.New()
		fmt.Fprintf(sum, "blob %d\x00", size)
	}
	buffer := make([]byte, 1<<20)
	for {
		n, err := part.Read(buffer)
		sum.Write(buffer[:n])
		if err == io.EOF {
			break
		}
		if err = errors.Join(err, ctx.Err()); err != nil {
			return err
		}
	}
	if got := hex.EncodeToString(sum.Sum(nil)); got != b.etag {
		return fmt.Errorf("%w: its checksum is %s, the hub's is %s; try again", ErrDamaged, got, b.etag)
	}
	return nil
}
