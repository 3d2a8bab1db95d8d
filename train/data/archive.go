package data

import (
	"archive/tar"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"unicode/utf8"
)

// member is a sample's files in an archive of webdataset.
type member struct {
	image, caption entry
	isJSON         bool // the caption's
}

// entry is where a file lies in an archive.
type entry struct {
	name         string
	offset, size int64
}

func (e entry) reader(archive io.ReaderAt) io.Reader {
	return io.NewSectionReader(archive, e.offset, e.size)
}

// The suffixes that open_clip_train takes as pictures and captions, in order.
var (
	imageSuffixes   = []string{"jpg", "png", "jpeg", "webp"}
	captionSuffixes = []string{"txt", "json"}
)

// maxCaption is the longest file of a caption that is read, in bytes.
const maxCaption = 1 << 20

// addArchive lists the samples of a tar: files that follow each other and have one name up
// to the first dot (group_by_keys_nothrow of open_clip_train/data.py). What lies before a
// damaged place is kept.
func (d *Dataset) addArchive(path string) error {
	file, err := os.Open(path)
	if err != nil {
		return err
	}
	defer file.Close()
	entries, in := map[string]entry{}, tar.NewReader(file)
	prefix, seen := "", false
	end := func() {
		if len(entries) > 0 {
			d.addMember(path, prefix, entries)
		}
		entries = map[string]entry{}
	}
	for {
		header, err := in.Next()
		if err != nil {
			end()
			if err == io.EOF {
				return nil
			} else if !seen {
				return fmt.Errorf("%w: %s: %w", ErrData, path, err)
			}
			d.Bad = append(d.Bad, Bad{path, err})
			return nil
		}
		seen = true
		key, suffix, ok := splitName(header.Name)
		if header.Typeflag != tar.TypeReg || !ok {
			continue
		}
		if _, twice := entries[suffix]; twice || key != prefix {
			end()
			prefix = key
		}
		offset, err := file.Seek(0, io.SeekCurrent) // the tar.Reader reads no further than the header
		if err != nil {
			return err
		}
		entries[suffix] = entry{header.Name, offset, header.Size}
	}
}

// splitName cuts a name at the first dot of its last part (base_plus_ext of webdataset).
func splitName(name string) (key, suffix string, ok bool) {
	slash := strings.LastIndexByte(name, '/') + 1
	base, suffix, ok := strings.Cut(name[slash:], ".")
	return name[:slash] + base, strings.ToLower(suffix), ok && base != ""
}

// addMember adds a sample, unless it lacks a picture or a caption.
func (d *Dataset) addMember(path, key string, entries map[string]entry) {
	find := func(suffixes []string) (string, bool) {
		i := slices.IndexFunc(suffixes, func(s string) bool { _, ok := entries[s]; return ok })
		return append(slices.Clone(suffixes), "")[max(i, 0)], i >= 0
	}
	image, ok := find(imageSuffixes)
	if !ok {
		d.Bad = append(d.Bad, Bad{path + ":" + key, fmt.Errorf("no picture: want one of %q", imageSuffixes)})
		return
	}
	caption, ok := find(captionSuffixes)
	if !ok {
		d.Bad = append(d.Bad, Bad{path + ":" + key, fmt.Errorf("no caption: want one of %q", captionSuffixes)})
		return
	}
	m := &member{image: entries[image], caption: entries[caption], isJSON: caption == "json"}
	d.samples = append(d.samples, sample{where: path, root: filepath.Dir(path), class: -1, member: m})
}

// captionsOf reads the captions of a sample in an archive.
func (d *Dataset) captionsOf(s *sample) ([]string, error) {
	e := s.member.caption
	if e.size > maxCaption {
		return nil, fmt.Errorf("%s has %d bytes, at most %d are read", e.name, e.size, maxCaption)
	}
	file, err := os.Open(s.where)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	text, err := io.ReadAll(e.reader(file))
	if err == nil && int64(len(text)) != e.size {
		err = io.ErrUnexpectedEOF
	}
	captions := []string{string(text)}
	if err == nil && s.member.isJSON {
		var fields map[string]json.RawMessage
		err = json.Unmarshal(text, &fields)
		captions = textsOf(fields, d.options.CaptionKeys)
	} else if err == nil && !utf8.Valid(text) {
		err = errors.New("no UTF-8")
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", e.name, err)
	}
	if captions = nonEmpty(captions); len(captions) == 0 {
		return nil, fmt.Errorf("%s has no caption", e.name)
	}
	return captions, nil
}
