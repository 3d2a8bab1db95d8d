package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"

	"github.com/clip-wgpu/clip-wgpu/clip/preprocess"
)

// imageExtensions are those of files that a folder is searched for.
var imageExtensions = []string{".bmp", ".gif", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp"}

// listImages replaces, among a command's arguments, "-" by the paths on the
// lines of stdin, and each folder by the images in and below it, in order of
// their names; symbolic links to folders in it are not followed. With mustExist
// a missing file is found now and not after much work.
func listImages(ctx context.Context, args []string, stdin io.Reader, mustExist bool) ([]string, error) {
	var paths []string
	for _, arg := range args {
		switch info, err := os.Stat(arg); {
		case arg == "-":
			lines, err := await(ctx, func() ([]string, error) { return readLines(stdin) })
			if err != nil {
				return nil, fmt.Errorf("stdin: %w", err)
			}
			paths = append(paths, slices.DeleteFunc(lines, func(s string) bool { return s == "" })...)
		case err == nil && info.IsDir():
			found, err := findImages(ctx, arg)
			if err != nil {
				return nil, err
			}
			paths = append(paths, found...)
		default:
			paths = append(paths, arg)
		}
	}
	for _, path := range paths {
		if _, err := os.Stat(path); mustExist && err != nil {
			return nil, err
		}
	}
	return paths, nil
}

func findImages(ctx context.Context, folder string) ([]string, error) {
	var paths []string
	visit := func(path string, d fs.DirEntry, err error) error {
		if err = errors.Join(err, ctx.Err()); err != nil {
			return err
		}
		if d.IsDir() || !slices.Contains(imageExtensions, strings.ToLower(filepath.Ext(path))) {
			return nil
		}
		if info, err := os.Stat(path); err != nil || !info.IsDir() { // what cannot be read is reported when its turn comes
			paths = append(paths, path)
		}
		return nil
	}
	// With the separator, a link given as argument is followed.
	if err := filepath.WalkDir(filepath.Clean(folder)+string(filepath.Separator), visit); err != nil {
		return nil, err
	}
	if len(paths) == 0 {
		return nil, fmt.Errorf("folder %s: no images in it (files named *%s)", folder, strings.Join(imageExtensions, ", *"))
	}
	return paths, nil
}

// readLinesOf reads a text file's lines; "-" is stdin.
func readLinesOf(ctx context.Context, path string, stdin io.Reader) ([]string, error) {
	if path == "-" {
		return await(ctx, func() ([]string, error) { return readLines(stdin) })
	}
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() { // opening a FIFO would wait for its writer
		return nil, fmt.Errorf("%s: not a regular file", path)
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	lines, err := readLines(f)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return lines, nil
}

// maxLine bounds the bytes of a line.
const maxLine = 16 << 20

// readLines returns lines without their ends.
func readLines(r io.Reader) ([]string, error) {
	var lines []string
	s := bufio.NewScanner(r)
	s.Buffer(nil, maxLine)
	for s.Scan() {
		lines = append(lines, s.Text())
	}
	if errors.Is(s.Err(), bufio.ErrTooLong) {
		return nil, fmt.Errorf("line %d has more than %d bytes", len(lines)+1, maxLine)
	}
	return lines, s.Err()
}

// picture is an image made ready for the model, or the reason why it cannot be.
type picture struct {
	path   string
	pixels []float32 // [3, height, width], normalised
	err    error
}

// decodeAhead yields the pictures of paths in order, while others, up to ahead
// of them, are being decoded on all cores. It ends early when ctx is done.
func decodeAhead(ctx context.Context, t *preprocess.Transform, paths []string, ahead int) iter.Seq[picture] {
	return func(yield func(picture) bool) {
		ctx, cancel := context.WithCancel(ctx)
		defer cancel()
		queue := make(chan chan picture, ahead)
		go func() {
			defer close(queue)
			cores := make(chan struct{}, runtime.GOMAXPROCS(0))
			for _, path := range paths {
				turn := make(chan picture, 1)
				select {
				case queue <- turn:
				case <-ctx.Done():
					return
				}
				cores <- struct{}{}
				go func() {
					turn <- decode(t, path)
					<-cores
				}()
			}
		}()
		for turn := range queue {
			select {
			case p := <-turn:
				if !yield(p) {
					return
				}
			case <-ctx.Done():
				return
			}
		}
	}
}

func decode(t *preprocess.Transform, path string) picture {
	img, err := preprocess.DecodeFile(path)
	if err != nil {
		return picture{path: path, err: err}
	}
	pixels, err := t.Apply(img)
	if err != nil {
		err = fmt.Errorf("%s: %w", path, err)
	}
	return picture{path, pixels, err}
}
