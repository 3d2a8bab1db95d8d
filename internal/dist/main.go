// Command dist builds the archives that users download, on Linux: for Linux, for Linux with a
// window, for Windows, and a file of their checksums. What git has decides their bytes, with the
// versions of Go and of the C compilers.
package main

import (
	"crypto/sha256"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
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
	out := flag.String("o", "dist", "`folder` of the archives, which is replaced")
	dxc := flag.String("dxc", "", "`folder` of an unpacked release of the DirectX shader compiler, which the archive for Windows then carries")
	flag.Parse()
	if err := dist(*out, *dxc); err != nil {
		fmt.Fprintln(os.Stderr, "dist:", err)
		os.Exit(1)
	}
}

// dist fills a folder with an archive for each target.
func dist(out, dxc string) error {
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
		entries, err := t.contents(program, dxc, shared)
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

// contents are the target's program, the licences of what it links, the shared files and, on Windows,
// the shader compiler of a folder.
func (t target) contents(program, dxc string, shared []entry) ([]entry, error) {
	notice, err := os.ReadFile("NOTICE")
	if err != nil {
		return nil, err
	}
	texts, err := licenses(program, notice)
	if err != nil {
		return nil, err
	}
	all := append(texts, shared...)
	if t.system != "windows" {
		e, err := read(program, "clip-wgpu", 0o755)
		return append(all, e), err
	}
	e, err := read(program, "clip-wgpu.exe", 0o755)
	if err != nil || dxc == "" {
		return append(all, e), err
	}
	texts, err = legalTexts(dxc, "dxc")
	if err != nil {
		return nil, err
	}
	all = append(append(all, e), texts...)
	for _, name := range []string{"dxcompiler.dll", "dxil.dll"} {
		e, err := read(filepath.Join(dxc, "bin", "x64", name), name, 0o755)
		if err != nil {
			return nil, err
		}
		all = append(all, e)
	}
	return all, nil
}
