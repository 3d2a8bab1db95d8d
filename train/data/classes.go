package data

import (
	"context"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/clip-wgpu/clip-wgpu/internal/walk"
)

// addClasses reads a folder that has a folder of pictures for each class (ImageFolder of
// torchvision). A class is called as its folder, with spaces for underscores.
func (d *Dataset) addClasses(root string) error {
	folders, err := os.ReadDir(root)
	if err != nil {
		return err
	}
	known := len(d.Classes)
	for _, f := range folders {
		info, err := os.Stat(filepath.Join(root, f.Name())) // follows links
		if err != nil || !info.IsDir() || d.options.walk().LeavesOut(fs.FileInfoToDirEntry(info)) {
			continue
		}
		name := strings.ReplaceAll(f.Name(), "_", " ")
		class := slices.Index(d.Classes, name)
		if class < 0 {
			class = len(d.Classes)
			d.Classes = append(d.Classes, name)
		}
		before := len(d.samples)
		if err := d.addClass(filepath.Join(root, f.Name()), class); err != nil {
			return err
		}
		if len(d.samples) == before && !d.options.Empty {
			return fmt.Errorf("%w: the folder of class %q, %s, has no pictures (files named *%s)", ErrData, name,
				filepath.Join(root, f.Name()), strings.Join(walk.Extensions, ", *"))
		}
	}
	if len(d.Classes) < 2 && known == 0 {
		return fmt.Errorf("%w: %s has %d folders of classes, want two or more", ErrData, root, len(d.Classes))
	}
	return nil
}

// addClass adds the pictures in and below a folder, sorted by their paths.
func (d *Dataset) addClass(folder string, class int) error {
	captions := d.options.prompts(d.Classes[class])
	_, err := walk.Pictures(context.Background(), folder, d.options.walk(), func(path string, _ fs.FileInfo, err error) {
		if err != nil {
			d.Bad = append(d.Bad, Bad{path, err})
			return
		}
		d.samples = append(d.samples, sample{where: path, root: filepath.Dir(folder), captions: captions, class: class})
	})
	return err
}

// walk are the options of class folders.
func (o Options) walk() walk.Options {
	return walk.Options{Hidden: o.Hidden, ExcludeDirs: o.ExcludeDirs}
}
