// Command dist builds the archives that users download, on Debian or Ubuntu: for Linux, for
// Linux with a window, for Windows, and a file of their checksums. Equal checkouts, versions of
// Go and C compilers give equal bytes.
package main

import (
	"crypto/sha256"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"
)

// target is a program of its own.
type target struct {
	name, system, compiler, tags, ending string
}

var targets = []target{
	{"linux-amd64", "linux", "gcc", "", ".tar.gz"},
	{"linux-amd64-desktop", "linux", "gcc", "glfw", ".tar.gz"}, // links X11
	{"windows-amd64", "windows", "x86_64-w64-mingw32-gcc", "", ".zip"},
}

func main() {
	if err := dist("dist"); err != nil {
		fmt.Fprintln(os.Stderr, "dist:", err)
		os.Exit(1)
	}
}

// dist replaces a folder by one of an archive for each target.
func dist(out string) error {
	version, err := output("git", "describe", "--tags", "--always", "--dirty")
	if err != nil {
		return err
	}
	version = strings.TrimPrefix(version, "v")
	seconds, err := output("git", "log", "-1", "--format=%ct")
	if err != nil {
		return err
	}
	stamp, err := strconv.ParseInt(seconds, 10, 64)
	if err != nil {
		return err
	}
	if err := os.RemoveAll(out); err != nil {
		return err
	}
	if err := os.MkdirAll(out, 0o755); err != nil {
		return err
	}
	work, err := os.MkdirTemp("", "clip-wgpu-dist")
	if err != nil {
		return err
	}
	defer os.RemoveAll(work)
	var sums strings.Builder
	var shared []entry
	for _, t := range targets {
		program := filepath.Join(work, t.name)
		if err := t.build(program, version); err != nil {
			return err
		}
		if shared == nil { // the first runs here and documents them all
			if shared, err = common(program, version, time.Unix(stamp, 0)); err != nil {
				return err
			}
		}
		entries, err := t.contents(program, shared)
		if err != nil {
			return err
		}
		folder := "clip-wgpu-" + version + "-" + t.name
		data, err := pack(folder+t.ending, folder, entries, time.Unix(stamp, 0))
		if err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(out, folder+t.ending), data, 0o644); err != nil {
			return err
		}
		fmt.Fprintf(&sums, "%x  %s\n", sha256.Sum256(data), folder+t.ending)
	}
	return os.WriteFile(filepath.Join(out, "SHA256SUMS"), []byte(sums.String()), 0o644)
}

// build writes the target's program.
func (t target) build(program, version string) error {
	c := exec.Command("go", "build", "-trimpath", "-buildvcs=false", "-tags", t.tags, "-ldflags", "-s -X main.release="+version, "-o", program, "./cmd/clip-wgpu")
	c.Env = append(c.Environ(), "GOOS="+t.system, "GOARCH=amd64", "CGO_ENABLED=1", "CC="+t.compiler)
	c.Stdout, c.Stderr = os.Stderr, os.Stderr
	if err := c.Run(); err != nil {
		return fmt.Errorf("%s: %w", t.name, err)
	}
	return nil
}

// common are the files that all archives have: what is to be read, the demo's pictures, and what
// a program says of itself.
func common(program, version string, made time.Time) ([]entry, error) {
	all, err := documents(program, version, made)
	if err != nil {
		return nil, err
	}
	const examples = "clip/emoji-clip/examples"
	files, err := filepath.Glob(examples + "/*")
	if err != nil {
		return nil, err
	}
	for _, file := range append(files, "README.md", "CHANGELOG.md", "LICENSE", "NOTICE") {
		e, err := read(file, strings.Replace(file, examples, "examples", 1), 0o644)
		if err != nil {
			return nil, err
		}
		all = append(all, e)
	}
	return all, nil
}

// contents are the target's program, the licenses of what it links, and the shared files.
func (t target) contents(program string, shared []entry) ([]entry, error) {
	texts, err := licenses(program)
	if err != nil {
		return nil, err
	}
	name := "clip-wgpu"
	if t.system == "windows" {
		name += ".exe"
		runtime, err := read("/usr/share/doc/mingw-w64-x86-64-dev/copyright", "licenses/mingw-w64.txt", 0o644)
		if err != nil {
			return nil, err
		}
		texts = append(texts, runtime)
	}
	e, err := read(program, name, 0o755)
	return slices.Concat(texts, shared, []entry{e}), err
}
