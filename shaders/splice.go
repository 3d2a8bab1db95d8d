package shaders

import (
	"cmp"
	"fmt"
	"io/fs"
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

// splice appends the library files that a kernel and those files themselves ask for, each once.
// They go to the end, where WGSL allows them, so that a compiler's line numbers stay those of the kernel's file.
func splice(lib fs.FS, name, src, weight string) ([]line, error) {
	lines := split(name+".wgsl", src)
	used := map[string]bool{}
	for i := 0; i < len(lines); i++ {
		use, ok := strings.CutPrefix(strings.TrimSpace(lines[i].text), "//!use ")
		if use = strings.TrimSpace(use); !ok || used[use] {
			continue
		}
		used[use] = true
		file := "lib/" + use + ".wgsl"
		if use == "weight" {
			file = "lib/weight_" + cmp.Or(weight, "f32") + ".wgsl"
		}
		text, err := fs.ReadFile(lib, file)
		if err != nil {
			return nil, lines[i].errorf("no file %s to use", file)
		}
		lines = append(lines, split(file, string(text))...)
	}
	if weight != "" && !used["weight"] {
		return nil, fmt.Errorf("%s.wgsl: weight=%s is given, but the kernel does not say //!use weight", name, weight)
	}
	return lines, nil
}
