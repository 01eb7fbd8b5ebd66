"""metergate convert from outside: against another SGERG-88 (lib/sgerg.py), at the edges of its ranges, and fed with what is no CSV."""
import csv
import io
import os
import random
import subprocess
import time
from pathlib import Path

import pytest

from lib.sgerg import Outside, compressibility

METERGATE = os.environ["METERGATE"]
DATA = Path(__file__).resolve().parent.parent / "data"
COLUMNS = ["method", "pressure_kpa", "temperature_c", "heating_value_mj_m3", "relative_density", "co2_mol_percent",
           "h2_mol_percent", "compressibility_ratio", "base_pressure_kpa", "base_temperature_c", "volume_measured"]
RESULTS = ["z", "z_base", "conversion_factor", "volume_base"]
GAS = ["--heating-value-mj-m3", "40.66", "--relative-density", "0.581", "--co2-mol-percent", "0.6"]


def run(*arguments, text=None):
    stdin = {"stdin": subprocess.DEVNULL} if text is None else {"input": text}
    return subprocess.run([METERGATE, "convert", *map(str, arguments)], capture_output=True, text=True, timeout=120,
                          check=False, **stdin)


def rows_of(done):
    return list(csv.DictReader(io.StringIO(done.stdout)))


def table(rows, columns=None):
    out = io.StringIO()
    writer = csv.DictWriter(out, columns or COLUMNS, extrasaction="ignore")
    writer.writeheader()
    writer.writerows(rows)
    return out.getvalue()


def has_no_numbers(row):
    return row["error"] != "" and all(row[name] == "" for name in RESULTS)


def random_row(chance):
    """All over the range and, one figure in forty, beyond it."""
    def between(low, high):
        beyond = 0.3 * (high - low) if chance.random() < 0.025 else 0
        return round(chance.uniform(low - beyond, high + beyond), 6)
    fixed = chance.random() < 0.1
    co2, h2 = between(0, 30) * chance.random() ** 2, between(0, 10) * chance.random()
    return {"method": "fixed" if fixed else "sgerg88", "pressure_kpa": between(0, 12000), "temperature_c": between(-23, 65),
            "heating_value_mj_m3": between(28, 46), "relative_density": between(0.55, 0.85), "co2_mol_percent": co2,
            "h2_mol_percent": h2, "compressibility_ratio": between(0.5, 1.5) if fixed else "",
            "base_pressure_kpa": chance.choice([101.325, 100, 101.56]), "base_temperature_c": chance.choice([0, 15, 20]),
            "volume_measured": round(chance.uniform(0, 1e6), 3)}


def expected(row):
    """Z, Zb, C by the oracle; Outside."""
    bar, kelvin = row["pressure_kpa"] / 100, row["temperature_c"] + 273.15
    plain = row["pressure_kpa"] / row["base_pressure_kpa"] * (row["base_temperature_c"] + 273.15) / kelvin
    if row["method"] == "fixed":
        if not 0.5 <= row["compressibility_ratio"] <= 1.5 or not 0 <= row["pressure_kpa"] <= 50000:
            raise Outside
        return None, None, plain / row["compressibility_ratio"]
    gas = [row["heating_value_mj_m3"], row["relative_density"], row["co2_mol_percent"] / 100, row["h2_mol_percent"] / 100]
    z_base = compressibility(*gas, row["base_pressure_kpa"] / 100, row["base_temperature_c"])
    z = compressibility(*gas, bar, row["temperature_c"])
    return z, z_base, plain * z_base / z


def test_agrees_with_another_sgerg():
    seed = int(os.environ.get("SEED", time.time_ns() % 10 ** 9))
    print(f"SEED={seed}")
    chance = random.Random(seed)
    asked = [random_row(chance) for _ in range(3000)]
    done = run(text=table(asked))
    got = rows_of(done)
    assert len(got) == len(asked)
    good = outside = 0
    for row, answer in zip(asked, got):
        try:
            z, z_base, factor = expected(row)
        except Outside:
            assert has_no_numbers(answer), (seed, row, answer)
            outside += 1
            continue
        assert answer["error"] == "", (seed, row, answer)
        if z is None:
            assert answer["z"] == answer["z_base"] == ""
        else:
            assert float(answer["z"]) == pytest.approx(z, rel=1e-10, abs=0), (seed, row)
            assert float(answer["z_base"]) == pytest.approx(z_base, rel=1e-10, abs=0), (seed, row)
        assert float(answer["conversion_factor"]) == pytest.approx(factor, rel=1e-10), (seed, row)
        assert float(answer["volume_base"]) == pytest.approx(row["volume_measured"] * factor, rel=1e-10), (seed, row)
        good += 1
    assert good > 300 and outside > 300, (seed, good, outside)
    assert done.returncode == 1 and f"{outside} of 3000 rows" in done.stderr


def test_published_conversions():
    """vb_vectors.csv: 1e-6 of each base volume."""
    gases = {"ISO gas 1": (40.66, 0.581, 0.6), "ISO gas 2": (40.62, 0.609, 0.5), "ISO gas 3": (43.53, 0.65, 1.5)}
    with open(DATA / "vb_vectors.csv", newline="", encoding="utf-8") as file:
        vectors = list(csv.DictReader(file))
    asked = [{"volume_measured": row["Vm_m3"], "pressure_kpa": 100 * float(row["p_abs_bar"]), "temperature_c": row["T_C"],
              "base_pressure_kpa": 100 * float(row["pb_bar"]), "base_temperature_c": round(float(row["Tb_K"]) - 273.15, 9),
              **dict(zip(("heating_value_mj_m3", "relative_density", "co2_mol_percent"), gases[row["gas"]]))}
             for row in vectors]
    done = run(text=table(asked))
    assert done.returncode == 0, done.stderr
    for row, answer in zip(vectors, rows_of(done), strict=True):
        assert float(answer["volume_base"]) == pytest.approx(float(row["Vb_m3"]), rel=1e-6)
        assert len(answer["volume_base"].replace(".", "").lstrip("0")) >= 10


def test_one_state_by_options():
    done = run("--pressure-kpa", 400, "--temperature_c", 25, "--base-temperature-c", 0, "--volume-measured", 1000, *GAS)
    assert done.returncode == 0, done.stderr
    (row,) = rows_of(done)
    assert float(row["volume_base"]) == pytest.approx(3634.6601, rel=1e-6)
    assert row["pressure_kpa"] == "400" and row["error"] == ""
    assert run("--pressure-kpa", 400, "--temperature_c", 25, "--base-temperature-c", 0, "--volume-measured", 1000,
               *GAS, text="").stdout == done.stdout
    done = run("--pressure-kpa", 12001, "--temperature-c", 25, *GAS)
    assert done.returncode == 1
    assert has_no_numbers(rows_of(done)[0])
    assert rows_of(done)[0]["error"] == "pressure_kpa 12001 is outside 0 to 12000, the range of SGERG-88"


def test_gauge_pressure_and_other_references():
    at_20_20 = 40.66 * 273.15 / 293.15 / (1 + 0.0001027 * (20 - 25))
    at_20_20 *= compressibility(40.66, 0.581, 0.006, 0, 1.01325, 0) / compressibility(40.66, 0.581, 0.006, 0, 1.01325, 20)
    plain = rows_of(run("--pressure-kpa", 98.564 + 200, "--temperature-c", 15, *GAS))[0]
    other = rows_of(run("--pressure-kpa", 200, "--altitude-m", 253, "--temperature-c", 15, "--heating-value-mj-m3",
                        f"{at_20_20:.12f}", "--heating-value-reference", "20/20", *GAS[2:]))[0]
    assert float(other["conversion_factor"]) == pytest.approx(float(plain["conversion_factor"]), rel=1e-8)


def test_columns_stay_and_options_fill_in():
    text = '\ufeffmeter,volume_measured,pressure_kpa,note\r\n"a ""1""",10,300,"x,\ny"\r\n\r\nb,20,,\r\nc,,500,z\r\n'
    done = run("--pressure-kpa", 200, "--temperature-c", 12.5, *GAS, text=text)
    assert done.returncode == 0, done.stderr
    rows = rows_of(done)
    assert list(rows[0]) == ["meter", "volume_measured", "pressure_kpa", "note", *RESULTS, "error"]
    assert [(row["meter"], row["note"], row["pressure_kpa"]) for row in rows] == [
        ('a "1"', "x,\ny", "300"), ("b", "", ""), ("c", "z", "500")]
    for row, kpa in zip(rows, (300, 200, 500)):
        z, z_base = (compressibility(40.66, 0.581, 0.006, 0, at, t) for at, t in ((kpa / 100, 12.5), (1.01325, 20)))
        assert float(row["conversion_factor"]) == pytest.approx(kpa / 101.325 * 293.15 / 285.65 * z_base / z, rel=1e-10)
    assert rows[2]["volume_base"] == ""


@pytest.mark.parametrize("cells, said", [
    ({"pressure_kpa": "nan"}, "pressure_kpa 'nan' is no number"),
    ({"pressure_kpa": "1e999"}, "pressure_kpa '1e999' is no number"),
    ({"pressure_kpa": "0x10"}, "pressure_kpa '0x10' is no number"),
    ({"pressure_kpa": "1,5"}, "pressure_kpa '1,5' is no number"),
    ({"pressure_kpa": "-1"}, "pressure_kpa -1 is outside 0 to 12000"),
    ({"temperature_c": "65.01"}, "temperature_c 65.01 is outside -23 to 65"),
    ({"temperature_c": ""}, "temperature_c is missing"),
    ({"relative_density": "0.5"}, "relative_density 0.5 is outside 0.55 to 0.9"),
    ({"volume_measured": "-1"}, "volume_measured -1 is outside"),
    ({"method": "aga8"}, "method 'aga8' is unknown"),
    ({"method": "fixed"}, "compressibility_ratio is missing"),
    ({"method": "fixed", "compressibility_ratio": "1.6"}, "compressibility_ratio 1.6 is outside 0.5 to 1.5"),
    ({"base_pressure_kpa": "0"}, "base_pressure_kpa 0 is outside"),
    ({"base_temperature_c": "80"}, "base conditions: temperature_c 80"),
])
def test_row_errors(cells, said):
    row = {"pressure_kpa": "300", "temperature_c": "15", "heating_value_mj_m3": "40.66", "relative_density": "0.581",
           "co2_mol_percent": "0.6"}
    done = run(text=table([row, row | cells, row]))
    first, answer, last = rows_of(done)
    assert done.returncode == 1
    assert said in answer["error"] and has_no_numbers(answer)
    assert first == last and first["error"] == "" and float(first["z"]) < 1


def test_a_short_row_has_its_error():
    done = run(*GAS, "--temperature-c", 5, text="pressure_kpa,volume_measured\n100\n100,2\n100,2,3\n")
    assert [row["error"] for row in rows_of(done)] == ["the row has 1 cells, the header 2", "", "the row has 3 cells, the header 2"]


@pytest.mark.parametrize("text, said", [
    ("", "there is no CSV"),
    ("a,b\n1,2\n", "the header names none of the columns"),
    ("pressure_kpa,pressure_kpa\n1,2\n", "the column 'pressure_kpa' stands there twice"),
    ("pressure_kpa,z\n1,2\n", "the column 'z' is written by convert itself"),
    ('pressure_kpa\n"1', "a quote that never closes"),
    ("pressure_kpa\n\0\n", "line 2: a NUL byte"),
    ("pressure_kpa\n" + "1" * 70000, "line 2: a row of more than 64 KiB"),
    ("pressure_kpa\n" + "," * 70, "line 2: a row of more than 64 cells"),
])
def test_no_csv(text, said):
    done = run(text=text)
    assert done.returncode == 1
    assert said in done.stderr


def test_wrong_usage():
    for arguments in (["--frobnicate"], ["--heating-value-reference", "25"], ["--altitude-m", "9000"], ["a", "b"]):
        done = run(*arguments)
        assert done.returncode == 2 and "Try 'metergate convert --help'" in done.stderr
    assert run("/nonexistent.csv").returncode == 1
    help_text = run("--help")
    assert help_text.returncode == 0 and "--altitude-m" in help_text.stdout


def test_rows_come_as_they_go_in():
    """A row is answered before the next is there."""
    with subprocess.Popen([METERGATE, "convert", *GAS], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as child:
        child.stdin.write("pressure_kpa,temperature_c\n")
        child.stdin.flush()
        assert child.stdout.readline().startswith("pressure_kpa,temperature_c,z,")
        for kpa in (100, 200, 300):
            child.stdin.write(f"{kpa},15\n")
            child.stdin.flush()
            assert child.stdout.readline().startswith(f"{kpa},15,0.99")
        child.stdin.close()
        assert child.wait(timeout=60) == 0
