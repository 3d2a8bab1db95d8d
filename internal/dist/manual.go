package main

import (
	"fmt"
	"os/exec"
	"strings"
	"time"
	"unicode"
)

// shells are what the program completes for, and how each wants the file to be called.
var shells = map[string]string{"bash": "clip-wgpu.bash", "zsh": "_clip-wgpu", "fish": "clip-wgpu.fish", "powershell": "clip-wgpu.ps1"}

// documents are what a program says of itself: completions and the man page.
func documents(program, version string, made time.Time) ([]entry, error) {
	run := func(args ...string) (string, error) {
		out, err := exec.Command(program, args...).Output()
		if err != nil {
			return "", fmt.Errorf("%s %s: %w", program, strings.Join(args, " "), err)
		}
		return string(out), nil
	}
	var all []entry
	for shell, name := range shells {
		script, err := run("completion", shell)
		if err != nil {
			return nil, err
		}
		all = append(all, entry{"completions/" + name, 0o644, []byte(script)})
	}
	root, err := run("--help")
	if err != nil {
		return nil, err
	}
	helps := []string{root}
	names := commands(root)
	for _, name := range names {
		help, err := run("help", name)
		if err != nil {
			return nil, err
		}
		helps = append(helps, help)
	}
	page := manual(names, helps, version, made)
	return append(all, entry{"man/man1/clip-wgpu.1", 0o644, []byte(page)}), nil
}

// commands are the names of the commands that the program's help lists.
func commands(help string) (names []string) {
	_, list, _ := strings.Cut(help, "\nAvailable Commands:\n")
	list, _, _ = strings.Cut(list, "\n\n")
	for line := range strings.Lines(list) {
		names = append(names, strings.Fields(line)[0])
	}
	return names
}

// manual is a man page of the program's help and that of each command. Their lines stay as they are.
func manual(names, helps []string, version string, made time.Time) string {
	var page strings.Builder
	fmt.Fprintf(&page, ".TH CLIP-WGPU 1 %s %q\n.SH NAME\nclip-wgpu \\- CLIP on the GPU\n", made.UTC().Format(time.DateOnly), "clip-wgpu "+version)
	for i, help := range helps {
		heading := "DESCRIPTION"
		if i > 0 {
			heading = "CLIP-WGPU " + strings.ToUpper(names[i-1])
			help, _, _ = strings.Cut(help, "\nGlobal Flags:\n")
		}
		fmt.Fprintf(&page, ".SH %s\n.nf\n", heading)
		for line := range strings.Lines(strings.TrimSpace(help)) {
			page.WriteString(roff(line))
		}
		page.WriteString("\n.fi\n")
	}
	return page.String()
}

var escapes = strings.NewReplacer(`\`, `\e`, "-", `\-`, "'", `\(aq`, "`", "\\`", "^", `\(ha`, "~", `\(ti`)

// roff is a line that a man page shows as it is.
func roff(line string) string {
	var out strings.Builder
	if strings.HasPrefix(line, ".") {
		out.WriteString(`\&`)
	}
	for _, r := range escapes.Replace(line) {
		if r > unicode.MaxASCII {
			fmt.Fprintf(&out, `\[u%04X]`, r)
		} else {
			out.WriteRune(r)
		}
	}
	return out.String()
}
