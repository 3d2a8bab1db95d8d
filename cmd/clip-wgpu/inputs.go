package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/clip-wgpu/clip-wgpu/clip/preprocess"
	"github.com/clip-wgpu/clip-wgpu/internal/walk"
	"github.com/spf13/cobra"
)

// input is what one row of an output is made of.
type input struct {
	id  string // an image's path as given, or a text
	err error  // why there will be no row
}

// imageSearch finds the images that a command's arguments mean.
type imageSearch struct {
	walk.Options
	orient    bool
	draft     bool
	mustExist bool                     // the first error ends the search
	hint      func(name string) string // added to the error of an argument that is no file; may be nil

	leftOut map[string]int // pictures that cannot be read, by the name of their format
}

func (s *imageSearch) addFlags(cmd *cobra.Command) {
	f := cmd.Flags()
	s.addWalkFlags(cmd)
	f.BoolVar(&s.orient, "orient", false, "turn images upright by their EXIF orientation")
	f.BoolVar(&s.draft, "draft", false, "decode large JPEGs at 1/2, 1/4 or 1/8 of their size: quicker, and other vectors")
}

// addWalkFlags adds the flags that say what is taken of folders.
func (s *imageSearch) addWalkFlags(cmd *cobra.Command) {
	f := cmd.Flags()
	f.BoolVar(&s.Hidden, "include-hidden", false, "search folders for hidden files, too, and in hidden folders")
	f.StringArrayVar(&s.ExcludeDirs, "exclude-dir", nil, "`name` of folders not to search, such as thumbs or 'old*'; may be given several times")
}

// foldersHelp documents internal/walk.
const foldersHelp = `A folder means the images in and below it, sorted by name: files named *.bmp, .gif,
.jpg (.jpeg, .jpe, .jfif), .png (.apng), .tif (.tiff) and .webp. A note on stderr
counts pictures of other formats in it (HEIC, AVIF, raw ...). Links to folders are
not followed. Hidden files and folders are left out (.*, and those that systems
keep: @eaDir, #recycle, __MACOSX ...); --include-hidden takes them. Folders that
--exclude-dir names are left out, too.`

// imageHelp documents imageSearch's arguments and flags.
const imageHelp = foldersHelp + ` A file or folder that is an argument itself
is always taken. The argument - reads paths from stdin, one on each line.

An image that cannot be read ends the command. With --skip-errors it is listed on
stderr, the others are done, and the exit code is 3.

Images are taken as they are stored, as open_clip does, and a note on stderr counts
those that are stored turned. --orient turns them upright by their EXIF orientation.

--draft decodes a JPEG at the smallest of 1/2, 1/4 and 1/8 of its size that is as large
as the model wants it, as Pillow's Image.draft does. That takes less time and gives
vectors a little different from open_clip's: compare them with others made so.`

// check refuses flags that make no sense.
func (s *imageSearch) check(cmd *cobra.Command) error {
	for i, name := range s.ExcludeDirs {
		name = strings.TrimRight(name, string(filepath.Separator)+"/")
		_, err := filepath.Match(name, "")
		if name == "" || err != nil || strings.ContainsAny(name, string(filepath.Separator)+"/") {
			return usageErrorf(cmd, "--exclude-dir %q: want the name of folders, without those above", s.ExcludeDirs[i])
		}
		s.ExcludeDirs[i] = name
	}
	return nil
}

// options are how the images are decoded for a model.
func (s *imageSearch) options(t *preprocess.Transform) []preprocess.Option {
	if s.draft {
		return append(s.stored(), t.Draft())
	}
	return s.stored()
}

// stored are the options but --draft.
func (s *imageSearch) stored() []preprocess.Option {
	if s.orient {
		return []preprocess.Option{preprocess.WithOrientation()}
	}
	return nil
}

// list replaces, among a command's arguments, "-" by the paths on the lines of
// stdin, and each folder by the images in and below it.
func (s *imageSearch) list(ctx context.Context, args []string, stdin io.Reader) ([]input, error) {
	var inputs []input
	for _, arg := range args {
		info, err := os.Stat(arg)
		switch {
		case arg == "-":
			lines, err := readLinesOf(ctx, "-", stdin)
			if err != nil {
				return nil, err
			}
			for _, path := range slices.DeleteFunc(lines, func(s string) bool { return s == "" }) {
				_, err := os.Stat(path)
				inputs = append(inputs, input{path, err})
			}
		case err == nil && info.IsDir():
			found, err := s.walk(ctx, arg)
			if err != nil {
				return nil, err
			}
			inputs = append(inputs, found...)
		default:
			if errors.Is(err, fs.ErrNotExist) && s.hint != nil {
				err = fmt.Errorf("%w%s", cause(err), s.hint(arg))
			}
			inputs = append(inputs, input{arg, err})
		}
	}
	for _, in := range inputs {
		if s.mustExist && in.err != nil { // found now and not after much work
			err := error(&inputError{in.id, in.err})
			var path *fs.PathError
			if errors.As(in.err, &path) && !errors.Is(in.err, fs.ErrNotExist) {
				err = fmt.Errorf("%w%s", err, skipHint)
			}
			return nil, err
		}
	}
	return inputs, nil
}

// some is list for a command that wants one image at least.
func (s *imageSearch) some(cmd *cobra.Command, args []string) ([]input, error) {
	images, err := s.list(cmd.Context(), args, cmd.InOrStdin())
	if err == nil && len(images) == 0 {
		err = usageErrorf(cmd, "no images given")
	}
	return images, err
}

// walk searches a folder. What of it cannot be read is an input with an error.
func (s *imageSearch) walk(ctx context.Context, folder string) ([]input, error) {
	var inputs []input
	rest, err := walk.Pictures(ctx, folder, s.Options, func(path string, _ fs.FileInfo, err error) {
		inputs = append(inputs, input{path, err})
	})
	if err != nil {
		return nil, err
	}
	s.leaveOut(rest.Others)
	if len(inputs) == 0 {
		inputs = []input{{folder, noImages(rest)}}
	}
	return inputs, nil
}

// noImages says why a folder has none.
func noImages(rest walk.Rest) error {
	text := "no images in it (files named *" + strings.Join(walk.Extensions, ", *") + ")"
	if len(rest.Others) > 0 {
		text = "no images in it that can be read, but " + countFormats(rest.Others)
	}
	if rest.Hidden > 0 {
		text += fmt.Sprintf("; %d hidden or excluded files and folders were left out", rest.Hidden)
	}
	return errors.New(text)
}

func (s *imageSearch) leaveOut(others map[string]int) {
	if s.leftOut == nil {
		s.leftOut = map[string]int{}
	}
	for format, n := range others {
		s.leftOut[format] += n
	}
}
