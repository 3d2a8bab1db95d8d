package weights

import (
	"archive/zip"
	"bytes"
	"errors"
	"io"
	"strings"
)

// maxZipDirectory bounds the bytes of a zip archive's directory, whose entries
// take several times as much in memory.
const maxZipDirectory = 16 << 20

// archive is a zip file's content: entries by name.
type archive struct {
	raw     []byte
	names   []string // in the order of the directory
	entries map[string]*zip.File
}

// limitedReaderAt fails after a number of bytes.
type limitedReaderAt struct {
	io.ReaderAt
	left int
}

var errZipDirectory = errors.New("zip directory is too large")

func (r *limitedReaderAt) ReadAt(p []byte, off int64) (int, error) {
	if r.left -= len(p); r.left < 0 {
		return 0, errZipDirectory
	}
	return r.ReaderAt.ReadAt(p, off)
}

func openArchive(raw []byte) (*archive, error) {
	limited := &limitedReaderAt{bytes.NewReader(raw), maxZipDirectory}
	r, err := zip.NewReader(limited, int64(len(raw)))
	switch {
	case errors.Is(err, errZipDirectory):
		return nil, fail(ErrMalformed, "", "zip directory of more than %d bytes", maxZipDirectory)
	case err != nil && !bytes.Contains(raw[max(0, len(raw)-1<<16-22):], []byte("PK\x05\x06")):
		return nil, fail(ErrTruncated, "", "cut short: the zip directory, which ends the file, is missing after %d bytes", len(raw))
	case err != nil:
		return nil, fail(ErrMalformed, "", "is a damaged zip archive: %s", plain(err.Error()))
	}
	limited.left = len(raw) // local headers
	a := &archive{raw: raw, entries: map[string]*zip.File{}}
	for _, f := range r.File {
		if _, ok := a.entries[f.Name]; ok {
			return nil, fail(ErrMalformed, "", "zip archive has two entries %s", quote(f.Name))
		}
		a.names = append(a.names, f.Name)
		a.entries[f.Name] = f
	}
	return a, nil
}

// entryRange is where an entry's bytes are; they must be stored as they are.
func (a *archive) entryRange(name string) (begin, end int, err error) {
	f, ok := a.entries[name]
	if !ok {
		return 0, 0, fail(ErrMalformed, "", "zip archive has no entry %s", quote(name))
	}
	if f.Method != zip.Store || f.Flags&1 != 0 {
		return 0, 0, fail(ErrMalformed, "", "zip entry %s is compressed or encrypted (method %d): stored bytes expected", quote(name), f.Method)
	}
	size := f.UncompressedSize64
	if f.CompressedSize64 != size || size > uint64(len(a.raw)) {
		return 0, 0, fail(ErrMalformed, "", "zip entry %s says it has %d bytes, stored in %d of a file of %d", quote(name), size, f.CompressedSize64, len(a.raw))
	}
	off, err := f.DataOffset()
	if err != nil || off < 0 || off > int64(len(a.raw))-int64(size) {
		return 0, 0, fail(ErrMalformed, "", "zip entry %s does not lie within the file", quote(name))
	}
	return int(off), int(off) + int(size), nil
}

func (a *archive) read(name string, most int) ([]byte, error) {
	begin, end, err := a.entryRange(name)
	if err != nil {
		return nil, err
	}
	if end-begin > most {
		return nil, fail(ErrMalformed, "", "zip entry %s has %d bytes, at most %d expected", quote(name), end-begin, most)
	}
	return a.raw[begin:end], nil
}

// parseZip reads the archive of torch.save since PyTorch 1.6, of torch.jit.save,
// or of numpy.savez. The files' only code, TorchScript's, is not looked at.
func parseZip(raw []byte) ([]Stored, map[string]string, error) {
	a, err := openArchive(raw)
	if err != nil {
		return nil, nil, err
	}
	if len(a.names) > 0 && strings.HasSuffix(a.names[0], npySuffix) {
		tensors, err := a.arrays()
		return tensors, nil, err
	}
	// PyTorch, too, takes the folder that the first entry is in.
	folder := ""
	if len(a.names) > 0 {
		folder, _, _ = strings.Cut(a.names[0], "/")
	}
	if _, ok := a.entries[folder+"/data.pkl"]; !ok {
		return nil, nil, fail(ErrNotWeights, "", "is a zip archive without a data.pkl or .npy entries, not weights")
	}
	if _, ok := a.entries[folder+"/byteorder"]; ok {
		order, err := a.read(folder+"/byteorder", 16)
		if err != nil || string(order) != "little" {
			return nil, nil, fail(ErrUnsupportedFormat, "", "its tensors are in byte order %s, little expected", quote(string(order)))
		}
	}
	data, err := a.read(folder+"/data.pkl", maxPickle)
	if err != nil {
		return nil, nil, err
	}
	p := newPickle(data)
	p.torchScript = a.isTorchScript(folder)
	object, err := p.load()
	if err != nil {
		return nil, nil, err
	}
	for _, s := range p.storages {
		begin, end, err := a.entryRange(folder + "/data/" + s.key)
		if err != nil {
			return nil, nil, err
		}
		if s.bytes != end-begin {
			return nil, nil, fail(ErrMalformed, "", "storage %s of %d elements of %v has %d bytes", quote(s.key), s.numel, s.element, end-begin)
		}
		s.begin = begin
	}
	return stateDict(object, len(raw))
}

func (a *archive) isTorchScript(folder string) bool {
	if _, ok := a.entries[folder+"/constants.pkl"]; !ok {
		return false
	}
	for _, name := range a.names {
		if strings.HasPrefix(name, folder+"/code/") {
			return true
		}
	}
	return false
}

// legacyMagic begins what torch.save wrote before PyTorch 1.6: this number, the
// protocol's version, facts about the machine, the object, the storages' keys,
// and the storages, each after its number of elements.
const legacyMagic = long("\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19")

func parseLegacy(raw []byte) ([]Stored, map[string]string, error) {
	p := newPickle(raw[:min(len(raw), maxPickle)])
	magic, err := p.load()
	if err == nil && magic != legacyMagic {
		err = fail(ErrNotWeights, "", "is a pickle that PyTorch did not write, not weights")
	}
	if err != nil {
		return nil, nil, err
	}
	version, err := p.load()
	if err != nil {
		return nil, nil, err
	}
	if version != int64(1001) {
		return nil, nil, fail(ErrUnsupportedFormat, "", "PyTorch's legacy format has version %s here, 1001 expected", describeObject(version))
	}
	machine, err := p.load()
	if err != nil {
		return nil, nil, err
	}
	if facts, ok := machine.(*dict); ok && facts.get("little_endian") == false {
		return nil, nil, fail(ErrUnsupportedFormat, "", "its tensors are big-endian")
	}
	object, err := p.load()
	if err != nil {
		return nil, nil, err
	}
	keys, err := p.load()
	if err != nil {
		return nil, nil, err
	}
	if err := locateLegacyStorages(raw, p, keys); err != nil {
		return nil, nil, err
	}
	return stateDict(object, len(raw))
}

// locateLegacyStorages finds the storages, which follow the pickles in the order of keys.
func locateLegacyStorages(raw []byte, p *pickle, keys any) error {
	l, ok := keys.(*list)
	if !ok {
		return fail(ErrMalformed, "", "a list of storages expected, %s found", describeObject(keys))
	}
	at := p.pos
	for _, k := range l.items {
		key, _ := k.(text)
		s, ok := p.storages[string(key)]
		if !ok || s.begin >= 0 {
			return fail(ErrMalformed, "", "storage %s is in the file twice, or no tensor's", describeObject(k))
		}
		if s.bytes > len(raw)-at-8 {
			return fail(ErrTruncated, "", "cut short: storage %s of %d elements of %v does not end within the file's %d bytes", quote(s.key), s.numel, s.element, len(raw))
		}
		if n := le.Uint64(raw[at:]); n != uint64(s.numel) {
			return fail(ErrMalformed, "", "storage %s has %d elements in the file, %d expected", quote(s.key), n, s.numel)
		}
		s.begin = at + 8
		at = s.begin + s.bytes
	}
	for _, s := range p.storages {
		if s.begin < 0 {
			return fail(ErrMalformed, "", "storage %s is not in the file", quote(s.key))
		}
	}
	return nil
}
