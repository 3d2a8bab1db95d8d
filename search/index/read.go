package index

import (
	"context"
	"database/sql"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// Picture is one content, and all files that have it.
type Picture struct {
	ID            int64
	Paths         []string // absolute, sorted
	Size          int64    // bytes of a file
	Modified      time.Time
	Taken         time.Time // by EXIF, zero where it does not say
	Width, Height int       // as it is looked at
}

// askedAtOnce is how many ids go into one query.
const askedAtOnce = 1000

// Pictures tells of pictures, in the order of ids. Those that are gone are left out.
func (x *Index) Pictures(ctx context.Context, ids []int64) ([]Picture, error) {
	found := map[int64]*Picture{}
	for some := range slices.Chunk(ids, askedAtOnce) {
		if err := x.readPictures(ctx, some, found); err != nil {
			return nil, failed(x.path, err)
		}
	}
	var pictures []Picture
	for _, id := range ids {
		if p := found[id]; p != nil {
			slices.Sort(p.Paths)
			pictures = append(pictures, *p)
		}
	}
	return pictures, nil
}

func (x *Index) readPictures(ctx context.Context, ids []int64, found map[int64]*Picture) error {
	args := make([]any, len(ids))
	for i, id := range ids {
		args[i] = id
	}
	rows, err := x.db.QueryContext(ctx, `SELECT c.id, c.width, c.height, c.taken, f.size, f.modified, d.path, f.name
		FROM contents c JOIN files f ON f.content = c.id JOIN folders d ON d.id = f.folder
		WHERE c.id IN (`+placeholders(len(ids))+`)`, args...)
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		var p Picture
		var taken sql.NullInt64
		var modified int64
		var folder, name string
		if err := rows.Scan(&p.ID, &p.Width, &p.Height, &taken, &p.Size, &modified, &folder, &name); err != nil {
			return err
		}
		p.Modified = time.Unix(0, modified)
		if taken.Valid {
			p.Taken = time.Unix(taken.Int64, 0)
		}
		if known := found[p.ID]; known == nil {
			found[p.ID] = &p
		} else if p.Modified.Before(known.Modified) {
			known.Modified = p.Modified // copying a file makes a later time
		}
		found[p.ID].Paths = append(found[p.ID].Paths, filepath.Join(folder, name))
	}
	return rows.Err()
}

// Filter chooses pictures: those of which a file meets all conditions. The zero value has
// none.
type Filter struct {
	Since, Until time.Time // when it was taken or, where EXIF does not say, modified; both inclusive
	Under        []string  // folders, in or below one of which the file is
	Exclude      []string  // folders, in and below which it is not
	Names        []string  // parts of the file's name, all of which it has, in either case
}

// Select returns the ids of the pictures that f chooses, sorted.
func (x *Index) Select(ctx context.Context, f Filter) ([]int64, error) {
	conditions, args := []string{"f.content IS NOT NULL"}, []any{}
	add := func(condition string, values ...any) {
		conditions, args = append(conditions, condition), append(args, values...)
	}
	const time = `coalesce(c.taken * 1000000000, f.modified)`
	if !f.Since.IsZero() {
		add(time+` >= ?`, f.Since.UnixNano())
	}
	if !f.Until.IsZero() {
		add(time+` <= ?`, f.Until.UnixNano())
	}
	if under, values, err := inFolders(f.Under); err != nil {
		return nil, err
	} else if len(f.Under) > 0 {
		add(under, values...)
	}
	if excluded, values, err := inFolders(f.Exclude); err != nil {
		return nil, err
	} else if len(f.Exclude) > 0 {
		add("NOT "+excluded, values...)
	}
	rows, err := x.db.QueryContext(ctx, `SELECT c.id, f.name FROM files f JOIN contents c ON c.id = f.content JOIN folders d ON d.id = f.folder
		WHERE `+strings.Join(conditions, " AND "), args...)
	if err != nil {
		return nil, failed(x.path, err)
	}
	defer rows.Close()
	parts := make([]string, len(f.Names))
	for i, part := range f.Names {
		parts[i] = strings.ToLower(part)
	}
	var ids []int64
	for rows.Next() {
		var id int64
		var name sql.RawBytes
		if err := rows.Scan(&id, &name); err != nil {
			return nil, failed(x.path, err)
		}
		if len(parts) == 0 || containsAll(strings.ToLower(string(name)), parts) {
			ids = append(ids, id)
		}
	}
	slices.Sort(ids)
	return slices.Compact(ids), failed(x.path, rows.Err())
}

func containsAll(name string, parts []string) bool {
	for _, part := range parts {
		if !strings.Contains(name, part) {
			return false
		}
	}
	return true
}

// inFolders is the condition that folder d is one of folders or below one.
func inFolders(folders []string) (string, []any, error) {
	conditions, args := []string{}, []any{}
	for _, folder := range folders {
		folder, err := filepath.Abs(folder)
		if err != nil {
			return "", nil, err
		}
		first, end := below(folder)
		conditions, args = append(conditions, "d.path = ? OR d.path >= ? AND d.path < ?"), append(args, []byte(folder), first, end)
	}
	return "(" + strings.Join(conditions, " OR ") + ")", args, nil
}

// below bounds the paths below a folder: from the first, up to but without the end.
func below(folder string) (first, end []byte) {
	first = []byte(strings.TrimSuffix(folder, string(filepath.Separator)) + string(filepath.Separator))
	end = slices.Clone(first)
	end[len(end)-1]++
	return first, end
}
