"""Sheets as people make them: read whole, or every bad cell named by its place."""

from __future__ import annotations

import csv
import io
import zipfile

import openpyxl
import pytest

from studio.brand.names import PATTERN, check_pattern, file_stem
from studio.brand.sheet import Defaults, Plan, make_plan, read_sheet
from studio.brand.table import FORMULA, MAX_BYTES, MAX_ROWS, place, read_table, write_csv
from studio.errors import BadRequest, TooLarge


def plan(text: str, **fields: object) -> Plan:
    return make_plan(read_sheet(text.encode()), Defaults(fields))


def refused(data: bytes) -> BadRequest:
    with pytest.raises(BadRequest) as caught:
        read_sheet(data)
    assert caught.value.code == "bad_sheet"
    return caught.value


def test_a_row_asks_for_every_combination_of_its_scenes_and_sizes() -> None:
    found = plan(
        "SKU,Product,Colour,Scene,Size,Seed\n"
        "A-1,sneaker,red,on a table | on a podium,128x128|192x128,7\n"
        "A-2,mug,blue,,128,8\n"
    )
    assert not found.problems
    asked = [(shot.request.prompt, shot.request.width, shot.request.height) for shot in found.shots]
    assert asked == [
        ("a red sneaker on a table", 128, 128),
        ("a red sneaker on a table", 192, 128),
        ("a red sneaker on a podium", 128, 128),
        ("a red sneaker on a podium", 192, 128),
        ("a blue mug", 128, 128),
    ]
    assert [(shot.row, shot.part) for shot in found.shots] == [(2, 0), (2, 1), (2, 2), (2, 3), (3, 0)]


def test_a_prompt_is_filled_in_from_the_other_columns() -> None:
    found = plan('sku,prompt,material\n1,"a {Material} chair, {sku}",oak\n')
    assert found.shots[0].request.prompt == "a oak chair, 1"
    assert found.sheet.ignored == ()
    wrong = plan("sku,prompt\n1,a {material} chair\n").problems[0]
    assert (wrong.cell, wrong.message) == ("B2", "{material} names no column of the sheet.")


def test_every_bad_cell_is_named_by_its_place() -> None:
    found = plan(
        "sku,prompt,seed,width,steps,loras\n"
        "1,a mug,abc,130,20,neon:strong\n"
        "2,a mug,4294967296,128,0,\n"
        "3,a mug,1,128,20.0,neon:0.5\n"
    )
    assert sorted(one.cell for one in found.problems) == ["C2", "C3", "D2", "E3", "F2"]
    assert [shot.row for shot in found.shots] == [4] and found.shots[0].request.steps == 20
    with pytest.raises(BadRequest) as caught:
        found.check()
    assert "C2 (seed)" in caught.value.message and caught.value.code == "bad_sheet"


def test_the_fields_of_a_request_come_through() -> None:
    control = "0123456789abcdef0123456789abcdef"
    row = (
        plan(
            "prompt,negative,CFG,Sampler,preset,lora,control image,canny low,count,file format\n"
            f"a mug,blur,4.5,euler,neon,neon:0.5; nordic,{control},50,3,JPEG\n"
        )
        .shots[0]
        .request
    )
    assert (row.negative_prompt, row.guidance, row.scheduler, row.preset) == ("blur", 4.5, "euler", "neon")
    assert [(lora.name, lora.weight) for lora in row.loras] == [("neon", 0.5), ("nordic", 1.0)]
    assert row.control is not None and (row.control.image, row.control.low) == (control, 50)
    assert (row.count, row.format) == (3, "jpeg")


def test_pictures_are_found_by_file_name_and_a_folder_stands_for_all_in_it() -> None:
    sheet = read_sheet(b"prompt,control_image\na mug,Edges/A.png\na cup,edges/\na pot,edges/c.png\n")
    found = make_plan(sheet, Defaults(pictures={"edges/a.png": "a" * 32, "edges/b.png": "b" * 32}))
    images = [shot.request.control.image for shot in found.shots if shot.request.control]
    assert images == ["a" * 32, "a" * 32, "b" * 32]
    assert found.problems[0].cell == "B4" and "Did you mean" in found.problems[0].hint


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "gb18030", "utf-16"])
@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
def test_chinese_sheets_of_every_usual_encoding_are_read(encoding: str, delimiter: str) -> None:
    lines = [["货号", "产品", "尺寸", "种子"], ["A-1", "红色灯笼", "128x128", "5"]]
    text = "\r\n".join(delimiter.join(line) for line in lines)
    shot = make_plan(read_sheet(text.encode(encoding)), Defaults()).shots[0]
    assert (shot.request.prompt, shot.request.seed, shot.cells["sku"]) == ("红色灯笼", 5, "A-1")


def test_a_workbook_is_read_as_its_first_sheet_looks() -> None:
    book = openpyxl.Workbook()
    sheet = book.active
    assert sheet is not None
    for row in (["SKU", "Prompt", "Seed", "Guidance"], ["A-1", "a red mug", 7, 2.5], [None, None, None]):
        sheet.append(row)
    out = io.BytesIO()
    book.save(out)
    book.close()
    found = make_plan(read_sheet(out.getvalue()), Defaults())
    assert (found.shots[0].request.seed, found.shots[0].request.guidance) == (7, 2.5)
    assert len(found.shots) == 1


def test_a_workbook_that_unpacks_too_far_is_refused_before_it_is_unpacked() -> None:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("xl/worksheets/sheet1.xml", bytes(80 * 2**20))
    assert len(out.getvalue()) < 200_000
    assert "unpacks to 80 MB" in refused(out.getvalue()).message
    assert "XLSX" in refused(b"PK\x03\x04 not a workbook").message


@pytest.mark.parametrize(
    "text, words",
    [
        ("", "empty"),
        ("  \n", "empty"),
        ("sku,prompt\n", "no rows"),
        ("sku,colour\n1,red\n", "neither a column prompt nor a column product"),
        ("prompt,presset\na mug,neon\n", "B1: no column 'presset'"),
        ("prompt,seed,Seed\na mug,1,2\n", "C1: the column 'Seed' is there twice"),
        ("prompt,,seed\na mug,1,2\n", "B1: the column has no heading"),
        ("prompt\na mug,1\n", "B2: this cell has no heading"),
        (f"prompt\n{'x' * 10_001}\n", "Cell A2 has 10001 characters"),
        ("prompt\n" + "a\n" * (MAX_ROWS + 1), f"more than {MAX_ROWS} rows"),
        ("prompt," * 70 + "\n" + "a\n", "columns; at most 64"),
        ("prompt\na\0b\n", "Cell A2 holds a zero byte"),
    ],
)
def test_a_sheet_that_cannot_be_used_says_where_and_why(text: str, words: str) -> None:
    assert words in refused(text.encode()).message


def test_a_sheet_that_is_too_large_is_refused_unread() -> None:
    with pytest.raises(TooLarge):
        read_sheet(bytes(MAX_BYTES + 1))


def test_a_row_with_too_many_combinations_is_refused() -> None:
    many = "|".join(str(number) for number in range(100))
    with pytest.raises(BadRequest, match="1000000 combinations"):
        plan(f"prompt,seed,steps,guidance\na mug,{many},{many},{many}\n")


@pytest.mark.parametrize("start", FORMULA)
def test_no_cell_we_write_is_a_formula(start: str) -> None:
    data = write_csv([["prompt"], [f'{start}HYPERLINK("http://x")']])
    rows = list(csv.reader(io.StringIO(data.decode("utf-8-sig"), newline="")))
    assert rows[1][0].startswith("'" + start)


def test_what_we_write_is_what_we_read() -> None:
    assert read_table(write_csv([["sku", "prompt"], ["1", 'a "red", mug\nbelow'], ["2", "红色"]])) == [
        ["sku", "prompt"], ["1", 'a "red", mug\nbelow'], ["2", "红色"],
    ]  # fmt: skip


@pytest.mark.parametrize("column, name", [(0, "A1"), (25, "Z1"), (26, "AA1"), (701, "ZZ1"), (702, "AAA1")])
def test_places_are_spelled_as_spreadsheets_do(column: int, name: str) -> None:
    assert place(1, column) == name


@pytest.mark.parametrize(
    "facts, stem",
    [
        ({"sku": "A-1", "scene": "on a table", "size": "128x128", "seed": "7"}, "A-1_on-a-table_128x128_7"),
        ({"sku": "A-1", "size": "128x128", "seed": "7"}, "A-1_128x128_7"),
        ({"size": "128x128", "seed": "7"}, "128x128_7"),
        ({"sku": "../../etc/passwd", "seed": "7"}, "etc-passwd_7"),
        ({"sku": "a/b\\c:d*?<>|", "seed": "7"}, "a-b-c-d_7"),
        ({"sku": "红色灯笼", "seed": "7"}, "红色灯笼_7"),
        ({"sku": ".bashrc", "seed": ""}, "bashrc"),
    ],
)
def test_names_are_safe_and_leave_out_what_is_not_there(facts: dict[str, str], stem: str) -> None:
    assert file_stem(PATTERN, facts) == stem


def test_a_name_that_is_taken_gets_a_number_and_devices_a_dash() -> None:
    assert file_stem("{sku}", {"sku": "A"}, {"a", "a-2"}) == "A-3"
    assert file_stem("{sku}", {"sku": "CON"}) == "CON-"
    assert file_stem("{sku}", {}) == "picture"
    assert len(file_stem("{sku}", {"sku": "字" * 300}).encode()) <= 120


def test_a_pattern_names_only_what_pictures_have() -> None:
    check_pattern("{SKU}-{Control Image}-{material}", {"material"})
    with pytest.raises(BadRequest, match="materiel"):
        check_pattern("{materiel}", {"material"})
