package shaders

import (
	"cmp"
	"fmt"
	"io/fs"
	"maps"
	"slices"
	"strings"
)

// line is one line of a composed kernel and where it came from.
type line struct {
	file string
	num  int
	text string
}

func (l line) errorf(format string, args ...any) error {
	return fmt.Errorf("%s:%d: %w", l.file, l.num, fmt.Errorf(format, args...))
}

// code is the line without its comment.
func (l line) code() string {
	code, _, _ := strings.Cut(l.text, "//")
	return strings.TrimRight(code, " \t\r")
}

func split(file, src string) []line {
	var lines []line
	for i, text := range strings.Split(strings.TrimSuffix(src, "\n"), "\n") {
		lines = append(lines, line{file, i + 1, text})
	}
	return lines
}

// choices are the names in `//!use NAME` that stand for one of several libraries, lib/NAME_VALUE.wgsl, and the value to
// take where a Variant gives none.
var choices = map[string]string{"weight": "f32", "x": "rows"}

// splice appends the library files that a kernel and those files themselves ask for, each once.
// They go to the end, where WGSL allows them, so that a compiler's line numbers stay those of the kernel's file.
// chosen are the values of choices.
func splice(lib fs.FS, name, src string, chosen map[string]string) ([]line, error) {
	lines := split(name+".wgsl", src)
	used := map[string]bool{}
	for i := 0; i < len(lines); i++ {
		use, ok := strings.CutPrefix(strings.TrimSpace(lines[i].text), "//!use ")
		if use = strings.TrimSpace(use); !ok || used[use] {
			continue
		}
		used[use] = true
		file := "lib/" + use + ".wgsl"
		if value, ok := choices[use]; ok {
			file = "lib/" + use + "_" + cmp.Or(chosen[use], value) + ".wgsl"
		}
		text, err := fs.ReadFile(lib, file)
		if err != nil {
			return nil, lines[i].errorf("no file %s to use", file)
		}
		lines = append(lines, split(file, string(text))...)
	}
	for _, use := range slices.Sorted(maps.Keys(chosen)) {
		if !used[use] {
			return nil, fmt.Errorf("%s.wgsl: %s=%s is given, but the kernel does not say //!use %s", name, use, chosen[use], use)
		}
	}
	return lines, nil
}
