import sys

if __name__ == "__main__":
    with open(sys.argv[1], "w", encoding="utf-8") as file:
        file.write(".".join(map(str, sys.version_info[:2])) + " " + " ".join(sys.argv[2:]))
