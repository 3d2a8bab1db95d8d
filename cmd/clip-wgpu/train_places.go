package main

import (
	"cmp"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// placeFlags are the flags of a training whose values may be paths.
var placeFlags = []string{"eval", "root", "class-names", "model", "config"}

// absoluteFlags makes the paths in the flags that are given absolute: --resume then need not
// be where the training began.
func absoluteFlags(cmd *cobra.Command) (err error) {
	for _, name := range placeFlags {
		place := cmd.Flags().Lookup(name)
		list, several := place.Value.(pflag.SliceValue)
		switch {
		case !place.Changed:
		case several:
			var paths []string
			if paths, err = absoluteAll(list.GetSlice()); err == nil {
				err = list.Replace(paths)
			}
		default:
			err = place.Value.Set(fullSource(place.Value.String()))
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// newRun is what a training begins with in a folder.
func newRun(cmd *cobra.Command, folder string, args []string) (runFile, error) {
	args, err := absoluteAll(args)
	if err == nil {
		folder, err = filepath.Abs(folder)
	}
	return runFile{Version: runVersion, Folder: folder, Args: args, Flags: givenFlags(cmd)}, err
}

// absoluteAll makes sources of data absolute.
func absoluteAll(sources []string) ([]string, error) {
	return eachPlace(sources, filepath.Abs)
}

// eachPlace changes the paths of sources, of which :: may join several.
func eachPlace(sources []string, change func(path string) (string, error)) ([]string, error) {
	all := make([]string, len(sources))
	for i, source := range sources {
		parts := strings.Split(source, "::")
		if _, err := os.Stat(source); err == nil {
			parts = []string{source} // a file may have such a name
		}
		for j, part := range parts {
			if part == "" {
				continue // Abs makes it the current folder
			}
			var err error
			if parts[j], err = change(part); err != nil {
				return nil, err
			}
		}
		all[i] = strings.Join(parts, "::")
	}
	return all, nil
}

// follow finds what a training names where it is now: what args and flags name anew, and what
// has moved together with the training's folder.
func (f *runFile) follow(cmd *cobra.Command, folder string, args []string) error {
	now, err := filepath.Abs(folder)
	if err != nil {
		return err
	}
	before, moved := cmp.Or(f.Folder, now), len(args) > 0
	follow := func(path string) (string, error) {
		to, err := followed(path, before, now)
		moved = moved || to != path
		return to, err
	}
	if moved {
		f.Args, err = absoluteAll(args)
	} else {
		f.Args, err = eachPlace(f.Args, follow)
	}
	for _, name := range placeFlags {
		if err == nil && f.Flags[name] != nil && !cmd.Flags().Changed(name) {
			f.Flags[name], err = eachPlace(f.Flags[name], follow)
		}
	}
	if err != nil {
		return fmt.Errorf("--resume %s: %w", folder, err)
	}
	f.Folder = before
	if moved { // else what it names lies as it did: of a copy the original may go later
		f.Folder = now
	}
	return nil
}

// followed finds what a path named when the training's folder was at before. That is the path
// itself if something is there. Else it is the path that lies from now, where the folder is, as
// the old one lay from before.
func followed(path, before, now string) (string, error) {
	if !filepath.IsAbs(path) || before == now || isThere(path) {
		return path, nil
	}
	way, err := filepath.Rel(before, path)
	if err != nil { // from one drive to another there is none
		return path, nil
	}
	moved := filepath.Join(now, way)
	if !isThere(moved) {
		return "", fmt.Errorf("%s is not there, nor is %s, as it would be had it moved with the folder", path, moved)
	}
	return moved, nil
}

// isThere tells whether a path leads to something, or the folder where its {}, * and ? begin.
func isThere(path string) bool {
	_, err := os.Stat(path)
	if at := strings.IndexAny(path, "{*?["); err != nil && at >= 0 {
		_, err = os.Stat(filepath.Dir(path[:at+1]))
	}
	return err == nil
}
