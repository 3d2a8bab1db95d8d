package main

import (
	"archive/tar"
	"archive/zip"
	"bytes"
	"cmp"
	"compress/gzip"
	"io/fs"
	"os"
	"path"
	"slices"
	"strings"
	"time"
)

// entry is a file in an archive.
type entry struct {
	name string // with slashes
	mode fs.FileMode
	data []byte
}

// pack makes an archive of entries in a folder: a zip where its name ends so, else a tar.gz.
// Equal entries give equal bytes, in whatever order they come.
func pack(name, folder string, entries []entry, made time.Time) ([]byte, error) {
	entries = slices.SortedFunc(slices.Values(entries), func(a, b entry) int { return cmp.Compare(a.name, b.name) })
	for i := range entries {
		entries[i].name = path.Join(folder, entries[i].name)
	}
	var out bytes.Buffer
	if strings.HasSuffix(name, ".zip") {
		err := packZip(&out, entries, made)
		return out.Bytes(), err
	}
	err := packTar(&out, entries, made)
	return out.Bytes(), err
}

func packTar(out *bytes.Buffer, entries []entry, made time.Time) error {
	compressed := gzip.NewWriter(out)
	w := tar.NewWriter(compressed)
	for _, e := range entries {
		h := &tar.Header{Name: e.name, Mode: int64(e.mode), Size: int64(len(e.data)), ModTime: made, Uname: "root", Gname: "root", Format: tar.FormatUSTAR}
		if err := w.WriteHeader(h); err != nil {
			return err
		}
		if _, err := w.Write(e.data); err != nil {
			return err
		}
	}
	if err := w.Close(); err != nil {
		return err
	}
	return compressed.Close()
}

func packZip(out *bytes.Buffer, entries []entry, made time.Time) error {
	w := zip.NewWriter(out)
	for _, e := range entries {
		h := &zip.FileHeader{Name: e.name, Method: zip.Deflate, Modified: made.UTC()}
		h.SetMode(e.mode)
		file, err := w.CreateHeader(h)
		if err != nil {
			return err
		}
		if _, err := file.Write(e.data); err != nil {
			return err
		}
	}
	return w.Close()
}

// read is a file as an entry of another name.
func read(file, name string, mode fs.FileMode) (entry, error) {
	data, err := os.ReadFile(file)
	return entry{name, mode, data}, err
}
