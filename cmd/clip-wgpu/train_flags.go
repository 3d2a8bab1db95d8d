package main

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// flagsHelp documents the file of --flags.
const flagsHelp = `A file of --flags has a flag on each line, without its dashes: "lr 1e-4", "lock-image". A line
that begins with # says nothing; "data PATH" stands for an argument. What the command line
says counts more.`

// readFlags sets the flags in a file that the command line does not give, and returns the
// arguments, which are the file's where the command line has none.
func readFlags(cmd *cobra.Command, path string, args []string) ([]string, error) {
	lines, err := readLinesOf(cmd.Context(), path, cmd.InOrStdin())
	if err != nil {
		return nil, fmt.Errorf("flags: %w", err)
	}
	given := map[string]bool{}
	cmd.Flags().Visit(func(f *pflag.Flag) { given[f.Name] = true })
	var data []string
	for i, line := range lines {
		name, value, _ := strings.Cut(strings.TrimSpace(line), " ")
		value = strings.TrimSpace(value)
		f := cmd.Flags().Lookup(name)
		switch {
		case name == "" || strings.HasPrefix(name, "#"):
			continue
		case name == "data":
			data = append(data, value)
			continue
		case f == nil || name == "flags" || name == "resume":
			return nil, fmt.Errorf("flags: line %d of %s: %q is no flag of a training", i+1, path, name)
		case given[name]:
			continue
		case value == "" && f.NoOptDefVal != "":
			value = f.NoOptDefVal
		}
		if err := cmd.Flags().Set(name, value); err != nil {
			return nil, fmt.Errorf("flags: line %d of %s: %s", i+1, path, flagError(err))
		}
	}
	if len(args) == 0 {
		args = data
	}
	return args, nil
}
