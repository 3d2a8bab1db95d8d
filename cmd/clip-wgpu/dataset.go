package main

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/clip-wgpu/clip-wgpu/train/data"
	"github.com/spf13/cobra"
)

// datasetHelp documents the data that eval and train take.
const datasetHelp = `A folder with a folder of pictures for each class: a class is called as its folder, with
spaces for underscores, or as a line of --class-names says, which has a name for each
folder in alphabetical order. What is only evaluated may then have folders without pictures:
classes that pictures are told from. --template puts the name into a text. Or pictures with
captions, one or several each:

  .csv, .tsv, .txt     a table whose first line names its columns, with tabs, commas or
                       semicolons between
  .jsonl, .ndjson      a JSON object on each line; a caption may be a list of them
  .tar                 an archive of webdataset, NAME.jpg (.png, .jpeg, .webp) and NAME.txt
                       or NAME.json; {000..099} in the name counts, * stands for any

The columns or fields of pictures are called filepath, image, file_name, image_path or
path, or as --image-key says; those of captions title, caption, text or captions, or
--caption-key. Paths are relative to the folder of the table, or to --root.`

// datasetFlags are the flags of data.
type datasetFlags struct {
	options    data.Options
	separator  string
	classNames string
	search     imageSearch
}

func (d *datasetFlags) addFlags(cmd *cobra.Command) {
	f := cmd.Flags()
	f.StringArrayVar(&d.options.Templates, "template", nil, "`text` around a class's name, with {} for it; may be given several times")
	f.StringVar(&d.classNames, "class-names", "", "`file` with the name of a class on each line, for the folders in alphabetical order")
	f.StringArrayVar(&d.options.ImageKeys, "image-key", nil, "`name` of the column or field with a picture's path; may be given several times")
	f.StringArrayVar(&d.options.CaptionKeys, "caption-key", nil, "`name` of a column or field with captions; may be given several times")
	f.StringVar(&d.separator, "separator", "", "`character` between a table's columns (default: the tab, comma or semicolon of its first line)")
	f.StringVar(&d.options.Root, "root", "", "`folder` that a table's relative paths start from (default: the table's)")
	d.search.addFlags(cmd)
}

func (d *datasetFlags) check(cmd *cobra.Command, args []string) error {
	if len(args) == 0 {
		return usageErrorf(cmd, "no data given: a folder of classes, a table or an archive")
	}
	if d.separator == `\t` {
		d.separator = "\t"
	}
	if d.separator != "" {
		r, size := utf8.DecodeRuneInString(d.separator)
		if size != len(d.separator) || strings.ContainsRune("\r\n\"\uFFFD", r) {
			return usageErrorf(cmd, "--separator %q: want one character", d.separator)
		}
		d.options.Separator = r
	}
	for _, t := range d.options.Templates {
		if !strings.Contains(t, "{}") {
			return usageErrorf(cmd, `--template %q has no {} for the class`, t)
		}
	}
	if err := d.search.check(cmd); err != nil {
		return err
	}
	d.options.Hidden, d.options.ExcludeDirs = d.search.Hidden, d.search.ExcludeDirs
	return nil
}

// open reads what the arguments name: classes, or captions. To evaluate by it, classes that
// --class-names lists need no pictures.
func (d *datasetFlags) open(cmd *cobra.Command, args []string, evaluates bool) (*data.Dataset, error) {
	o := d.options
	o.Empty = evaluates && d.classNames != ""
	set, err := interruptible(cmd.Context(), func() (*data.Dataset, error) { return data.Open(args, o) })
	if err != nil {
		return nil, err
	}
	for i := range set.Len() {
		if set.Classes != nil && set.Class(i) < 0 {
			return nil, fmt.Errorf("%s has captions, and other DATA has folders of classes: want one kind", set.Name(i))
		}
	}
	return set, nil
}

// nameClasses gives those of the sets that have classes the names of --class-names.
func (d *datasetFlags) nameClasses(ctx context.Context, stdin io.Reader, sets ...*data.Dataset) error {
	if d.classNames == "" {
		return nil
	}
	names, err := readLinesOf(ctx, d.classNames, stdin)
	if err != nil {
		return fmt.Errorf("class names: %w", err)
	}
	captions := func(s *data.Dataset) bool { return s.Classes == nil }
	if classes := slices.DeleteFunc(slices.Clone(sets), captions); len(classes) > 0 {
		sets = classes
	}
	for _, set := range sets {
		if len(names) != len(set.Classes) {
			return fmt.Errorf("class names: %s has %s, and there are %s of classes", d.classNames, plural(len(names), "line"), plural(len(set.Classes), "folder"))
		}
	}
	for i, name := range names {
		if err := checkText(name); err != nil {
			return fmt.Errorf("class names: line %d of %s %w", i+1, d.classNames, err)
		}
	}
	for _, set := range sets {
		set.Rename(names)
	}
	return nil
}
