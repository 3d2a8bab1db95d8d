package main

import (
	"debug/buildinfo"
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
)

var legal = regexp.MustCompile(`(?i)^(licen[cs]e|copying|notice|patents)`)

// wgpuNative names what the WebGPU library is made of, which its Go module does not.
//
//go:embed wgpu-native.txt
var wgpuNative []byte

// licenses are the license texts of Go, of the modules that a program links, and of the C libraries in these.
func licenses(program string) ([]entry, error) {
	info, err := buildinfo.ReadFile(program)
	if err != nil {
		return nil, err
	}
	paths := make([]string, len(info.Deps))
	for i, d := range info.Deps {
		paths[i] = d.Path
	}
	root, err := output("go", "env", "GOROOT")
	if err != nil {
		return nil, err
	}
	folders := map[string]string{"go": root}
	list, err := output("go", append([]string{"list", "-m", "-json"}, paths...)...)
	if err != nil {
		return nil, err
	}
	for d := json.NewDecoder(strings.NewReader(list)); ; {
		var module struct{ Path, Dir string }
		if err := d.Decode(&module); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			return nil, err
		}
		folders[module.Path] = module.Dir
		if strings.HasSuffix(module.Path, "/glfw") {
			folders["glfw"] = filepath.Join(module.Dir, "glfw")
		}
	}
	all := []entry{{"licenses/wgpu-native.txt", 0o644, wgpuNative}}
	for name, folder := range folders {
		texts, err := legalTexts(folder, strings.ReplaceAll(name, "/", "_"))
		if err != nil {
			return nil, err
		}
		all = append(all, texts...)
	}
	return all, nil
}

// legalTexts are a folder's licenses, of which there must be one.
func legalTexts(folder, name string) (all []entry, err error) {
	files, err := os.ReadDir(folder)
	if err != nil {
		return nil, err
	}
	for _, f := range files {
		if f.IsDir() || !legal.MatchString(f.Name()) {
			continue
		}
		e, err := read(filepath.Join(folder, f.Name()), "licenses/"+name+"/"+f.Name(), 0o644)
		if err != nil {
			return nil, err
		}
		all = append(all, e)
	}
	if len(all) == 0 {
		return nil, fmt.Errorf("%s has no license", folder)
	}
	return all, nil
}

// output is what a command writes, without blanks at its ends.
func output(name string, args ...string) (string, error) {
	c := exec.Command(name, args...)
	c.Stderr = os.Stderr
	out, err := c.Output()
	if err != nil {
		return "", fmt.Errorf("%s: %w", strings.Join(c.Args, " "), err)
	}
	return strings.TrimSpace(string(out)), nil
}
