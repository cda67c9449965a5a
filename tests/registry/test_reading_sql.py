"""A person's own SQL: it reads, and nothing else; every table and column is described."""

import json
import re
import sqlite3

import pytest
from support.command_line import refused, rotelab
from support.paths import ROOT

from rotelab.config.run_config import RunConfig
from rotelab.errors import LabError
from rotelab.registry.reading_sql import read_sql
from rotelab.registry.table_descriptions import SHARED, TABLES, described_tables


@pytest.fixture
def run_id(lab, mother):
    """A run that waits, named with a comma and a quote."""
    return lab.registry.create_run(RunConfig(), mother, name='my, "first"')


def everything(path):
    with sqlite3.connect(path) as connection:
        return list(connection.iterdump())


@pytest.mark.parametrize(
    "sql",
    [
        "DELETE FROM runs",
        "UPDATE runs SET name = 'x'",
        "INSERT INTO sweeps (id) VALUES ('x')",
        "DROP TABLE runs",
        "CREATE TABLE mine (x)",
        "CREATE TEMP TABLE mine (x)",
        "WITH gone AS (SELECT 1) DELETE FROM runs",
        "ATTACH '{other}' AS other",
        "VACUUM INTO '{other}'",
        "PRAGMA user_version = 7",
        "PRAGMA journal_mode = DELETE",
        "BEGIN IMMEDIATE",
        "SELECT load_extension('{other}')",
        "SELECT 1; DELETE FROM runs",
        "-- nothing",
    ],
)
def test_all_but_reading_is_refused(sql, lab, run_id, tmp_path):
    other = tmp_path / "other.db"
    before = everything(lab.storage.database)
    with pytest.raises(LabError, match="Only reading is allowed"):
        read_sql(lab.storage.database, sql.format(other=other))
    assert everything(lab.storage.database) == before
    assert not other.exists()


def test_the_connection_itself_only_reads(lab, run_id, monkeypatch):
    """Even if the authorizer let a statement through."""
    from rotelab.registry import reading_sql

    every = {value for name, value in vars(sqlite3).items() if name.startswith("SQLITE_")}
    monkeypatch.setattr(reading_sql, "READING", every)
    with pytest.raises(LabError, match="Only reading is allowed"):
        read_sql(lab.storage.database, "DELETE FROM runs")
    assert lab.registry.run(run_id).name


def test_rows_and_columns_that_have_one_name(lab, run_id):
    found = read_sql(lab.storage.database, "SELECT id, name, id, 1.25, x'00ff' AS b FROM runs")
    assert found.columns == ("id", "name", "id_2", "1.25", "b")
    assert found.rows == [(run_id, 'my, "first"', run_id, 1.25, "00ff")]


def test_schema_pragmas_and_json_are_at_hand(lab, run_id):
    assert read_sql(lab.storage.database, "PRAGMA table_info(sweeps)").rows[0][1] == "number"
    sql = "SELECT json_extract(config, '$.generalize.k') AS k FROM runs"
    assert read_sql(lab.storage.database, sql).rows == [(RunConfig().generalize.k,)]


@pytest.mark.parametrize("sql", ["SELECT x FROM runs", "SELECT 1 FROM nothing", "SELEC 1"])
def test_a_fault_in_the_query_is_said_and_not_blamed_on_the_file(sql, lab, run_id):
    with pytest.raises(LabError, match=r"^SQL: .* `python -m rotelab sql --tables` lists"):
        read_sql(lab.storage.database, sql)


def test_the_command_prints_a_table_json_or_csv(run_id):
    sql = "SELECT name, 1.23456789 AS x, NULL AS y FROM runs"
    said = rotelab("sql", sql).out.splitlines()
    assert said[0].split() == ["name", "x", "y"] and said[2].split()[-2:] == ["1.23456789", "–"]
    row = {"name": 'my, "first"', "x": 1.23456789, "y": None}
    assert json.loads(rotelab("sql", sql, "--json").out) == [row]
    assert rotelab("sql", sql, "--csv").out == 'name,x,y\n"my, ""first""",1.23456789,\n'
    assert json.loads(rotelab("sql", "SELECT 9e999 AS x", "--json").out) == [{"x": None}]
    listed = rotelab("sql", "--tables", "--csv").out
    assert "runs,id,TEXT," in listed


def test_the_command_refuses_what_it_can_not_do():
    refused(rotelab("sql", "DELETE FROM runs"), "Only reading is allowed")
    refused(rotelab("sql"), "Give one SELECT")
    refused(rotelab("sql", "SELECT 1", "--tables"), "Give one SELECT")
    refused(rotelab("sql", "SELECT 1", "--json", "--csv"), "exclude each other")


def test_every_table_and_column_has_a_sentence_and_no_sentence_is_left_over():
    tables = described_tables()
    assert {table.name for table in tables} == set(TABLES)
    for table in tables:
        names = {column.name for column in table.columns}
        assert set(TABLES[table.name][1]) <= names, table.name
        for sentence in (table.sentence, *(column.sentence for column in table.columns)):
            assert sentence.endswith("."), sentence
    used = {column.name for table in tables for column in table.columns}
    assert set(SHARED) <= used


def test_the_queries_of_the_documentation_work(lab, run_id):
    text = (ROOT / "docs" / "database.md").read_text(encoding="utf-8")
    queries = re.findall(r"```sql\n(.*?)```", text, re.S) + re.findall(
        r'sql (?:--csv )?"(.*)"', text
    )
    assert len(queries) == 4
    for query in queries:
        assert read_sql(lab.storage.database, query).columns
