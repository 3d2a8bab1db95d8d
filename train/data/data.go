// Package data reads pictures with captions to train on and to evaluate by: tables,
// webdatasets and folders of classes. A Dataset lists them, a Loader makes batches of them.
// It needs no device.
package data

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/clip-wgpu/clip-wgpu/clip/preprocess"
)

// ErrData is matched by errors about files that hold no dataset, and about options.
var ErrData = errors.New("no usable dataset")

// Options say how files are read. The zero value has open_clip_train's defaults, but for
// Separator and Root, which it lacks.
type Options struct {
	ImageKeys   []string // columns or fields of a table that hold a picture's path; default filepath, image, file_name, image_path, path
	CaptionKeys []string // those of captions; default title, caption, text, captions. Of webdatasets, fields of the .json
	Separator   rune     // of a table's columns; 0 finds it out from the first line: a tab, comma or semicolon
	Root        string   // the folder that relative paths start from; "" is the table's
	Templates   []string // of a class folder's captions, with "{}" for the class; none means the class alone
	Hidden      bool     // class folders: also what is hidden
	Empty       bool     // class folders: one without pictures is a class to tell others from, else an error
	ExcludeDirs []string // class folders: patterns of filepath.Match, names of folders to leave out
}

// Dataset is a list of samples. It is safe for concurrent use.
type Dataset struct {
	// Classes are the names of a class folder's classes, in the order of their numbers.
	Classes []string
	// Bad lists what of the files is no sample, such as a broken line of a table.
	Bad []Bad

	samples []sample
	options Options
}

// Bad is something that cannot be used.
type Bad struct {
	Where string // a file, perhaps with a line, or a member of an archive
	Err   error
}

func (b Bad) Error() string { return b.Where + ": " + b.Err.Error() }

// Unwrap returns Err.
func (b Bad) Unwrap() error { return b.Err }

// sample is a picture with its captions.
type sample struct {
	where    string // the picture's path, or its archive
	root     string // the folder that it moves with, or "": its source gives a full path
	captions []string
	class    int
	member   *member // in an archive; nil is a file
}

// Open reads what sources name, one after another: a table (.csv, .tsv, .txt, .jsonl,
// .ndjson), an archive of webdataset (.tar), or a folder of classes. {00..99} in a name
// stands for numbers, * and ? for any files, as webdataset's users write them. Pictures are
// not opened. The error matches ErrData or is the system's, and names the file.
func Open(sources []string, o Options) (*Dataset, error) {
	d := &Dataset{options: o.withDefaults()}
	if err := d.options.check(); err != nil {
		return nil, err
	}
	for _, source := range sources {
		paths, err := expand(source)
		if err != nil {
			return nil, err
		}
		for _, path := range paths {
			if err := d.add(path); err != nil {
				return nil, err
			}
		}
	}
	if len(d.samples) == 0 {
		return nil, fmt.Errorf("%w: %s has no sample%s", ErrData, strings.Join(sources, ", "), firstOf(d.Bad))
	}
	return d, nil
}

func firstOf(bad []Bad) string {
	if len(bad) == 0 {
		return ""
	}
	return fmt.Sprintf("; %d cannot be used, the first: %v", len(bad), bad[0])
}

func (o Options) withDefaults() Options {
	if len(o.ImageKeys) == 0 {
		o.ImageKeys = []string{"filepath", "image", "file_name", "image_path", "path"}
	}
	if len(o.CaptionKeys) == 0 {
		o.CaptionKeys = []string{"title", "caption", "text", "captions"}
	}
	if len(o.Templates) == 0 {
		o.Templates = []string{"{}"}
	}
	return o
}

func (o Options) check() error {
	for _, t := range o.Templates {
		if !strings.Contains(t, "{}") {
			return fmt.Errorf("%w: template %q has no {} for the class", ErrData, t)
		}
	}
	return nil
}

// add reads one file or folder.
func (d *Dataset) add(path string) error {
	info, err := os.Stat(path)
	switch {
	case err != nil:
		return err
	case info.IsDir():
		return d.addClasses(path)
	case !info.Mode().IsRegular():
		return fmt.Errorf("%w: %s is no regular file", ErrData, path)
	}
	switch strings.ToLower(filepath.Ext(path)) {
	case ".tar":
		return d.addArchive(path)
	case ".jsonl", ".ndjson":
		return d.addLines(path)
	case ".csv", ".tsv", ".txt":
		return d.addTable(path)
	}
	return fmt.Errorf("%w: %s: want a folder of classes, .csv, .tsv, .txt, .jsonl, .ndjson or .tar", ErrData, path)
}

// addFile adds a picture in a file beside a table. Captions without text are left out.
func (d *Dataset) addFile(table, where, picture string, captions []string) {
	texts := nonEmpty(captions)
	switch {
	case picture == "":
		d.Bad = append(d.Bad, Bad{where, fmt.Errorf("no path of a picture in %q", d.options.ImageKeys)})
		return
	case len(texts) == 0:
		d.Bad = append(d.Bad, Bad{where, fmt.Errorf("no caption in %q", d.options.CaptionKeys)})
		return
	}
	root := ""
	if !filepath.IsAbs(picture) {
		root = cmp.Or(d.options.Root, filepath.Dir(table))
		picture = filepath.Join(root, filepath.FromSlash(picture))
	}
	d.samples = append(d.samples, sample{where: picture, root: root, captions: texts, class: -1})
}

func nonEmpty(captions []string) []string {
	var texts []string
	for _, c := range captions {
		if c = strings.TrimSpace(c); c != "" {
			texts = append(texts, c)
		}
	}
	return texts
}

// Rename calls the classes so, in their order. Captions that Templates make of them follow.
func (d *Dataset) Rename(classes []string) {
	d.Classes = classes
	captions := make([][]string, len(classes))
	for i := range classes {
		captions[i] = d.options.prompts(classes[i])
	}
	for i := range d.samples {
		if c := d.samples[i].class; c >= 0 {
			d.samples[i].captions = captions[c]
		}
	}
}

// prompts are the captions of a class.
func (o Options) prompts(class string) []string {
	texts := make([]string, len(o.Templates))
	for i, t := range o.Templates {
		texts[i] = strings.ReplaceAll(t, "{}", class)
	}
	return texts
}

// Len is the number of samples.
func (d *Dataset) Len() int { return len(d.samples) }

// Name tells where sample i is: a file, or a member of an archive.
func (d *Dataset) Name(i int) string {
	s := &d.samples[i]
	if s.member != nil {
		return s.where + ":" + s.member.image.name
	}
	return s.where
}

// Fingerprint is a SHA-256, in hex, of the samples' names, classes and captions, of those in
// archives of the captions' places: data that another Dataset has in the same order. A name
// is a path as a table has it, or one below a folder of classes, or an archive's without its
// folder: data that is moved as a whole keeps its Fingerprint.
func (d *Dataset) Fingerprint() string {
	return d.fingerprint(func(s *sample) string {
		if s.root == "" {
			return s.where
		}
		name, err := filepath.Rel(s.root, s.where)
		if err != nil { // one of them depends on the current folder, and the other does not
			return s.where
		}
		return filepath.ToSlash(name)
	})
}

// FingerprintOfPlaces is a Fingerprint of data that stays where it is: names are full paths.
// The folders of trainings had it before Fingerprint told of moved data.
func (d *Dataset) FingerprintOfPlaces() string {
	return d.fingerprint(func(s *sample) string { return s.where })
}

func (d *Dataset) fingerprint(name func(s *sample) string) string {
	h := sha256.New()
	for i := range d.samples {
		s := &d.samples[i]
		fmt.Fprintf(h, "%q %d %q", name(s), s.class, s.captions)
		if s.member != nil {
			fmt.Fprintf(h, " %+v", *s.member)
		}
		fmt.Fprintln(h)
	}
	return hex.EncodeToString(h.Sum(nil))
}

// Class is the number of sample i's class, -1 where it has none.
func (d *Dataset) Class(i int) int { return d.samples[i].class }

// Captions are those of sample i, one at least. Those of archives are read.
func (d *Dataset) Captions(i int) ([]string, error) {
	s := &d.samples[i]
	if s.member == nil {
		return s.captions, nil
	}
	return d.captionsOf(s)
}

// Picture decodes that of sample i.
func (d *Dataset) Picture(i int, options ...preprocess.Option) preprocess.Picture {
	s := &d.samples[i]
	if s.member == nil {
		return preprocess.File(s.where, options...)
	}
	return func(decoder *preprocess.Decoder) (*preprocess.Image, error) {
		file, err := os.Open(s.where)
		if err != nil {
			return nil, err
		}
		defer file.Close()
		return decoder.Decode(s.member.image.reader(file), options...)
	}
}
