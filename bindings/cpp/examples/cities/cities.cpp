// The great cities of the world: imported once, summed up by country, and the nearest one to a point.
//
//     cities DATABASE CSV LATITUDE LONGITUDE

#include <diamonddb.hpp>

#include <algorithm>
#include <cmath>
#include <fstream>
#include <iostream>
#include <map>
#include <stdexcept>
#include <string>
#include <vector>

struct city {
    std::uint32_t geoname_id;
    std::uint32_t population;
    double latitude; // In degrees, north and east.
    double longitude;
    diamond::text<60> name;
    diamond::text<2> country;
    diamond::text<34> time_zone;

    static constexpr auto fields() {
        return diamond::fields(
            diamond::field("geoname_id", &city::geoname_id).required(), diamond::field("population", &city::population),
            diamond::field("latitude", &city::latitude).required(),
            diamond::field("longitude", &city::longitude).required(), diamond::field("name", &city::name).required(),
            diamond::field("country", &city::country), diamond::field("time_zone", &city::time_zone));
    }
};

// The cells of a line of CSV: a cell in quotes may hold commas, and two quotes there are one.
static std::vector<std::string> cells_of(const std::string &line) {
    std::vector<std::string> cells(1);
    bool is_quoted = false;
    for (std::size_t i = 0; i < line.size(); i++) {
        bool is_doubled = is_quoted && line.compare(i, 2, "\"\"") == 0;
        if (is_doubled) cells.back() += line[i++];
        else if (line[i] == '"') is_quoted = !is_quoted;
        else if (line[i] == ',' && !is_quoted) cells.emplace_back();
        else cells.back() += line[i];
    }
    return cells;
}

static diamond::entry<city> entry_from(const std::string &line) {
    std::vector<std::string> cells = cells_of(line);
    if (cells.size() != 7) throw std::runtime_error("a line has not seven cells: " + line);
    diamond::entry<city> it;
    it.record.geoname_id = static_cast<std::uint32_t>(std::stoul(cells[0]));
    it.record.name = cells[1];
    it.record.country = cells[2];
    it.record.latitude = std::stod(cells[3]);
    it.record.longitude = std::stod(cells[4]);
    if (cells[5].empty()) it.nulls.set(&city::population);
    else it.record.population = static_cast<std::uint32_t>(std::stoul(cells[5]));
    it.record.time_zone = cells[6];
    return it;
}

// All of the file in one commit: a crash leaves all of it or nothing.
static void import(const diamond::table<city> &cities, const std::string &name) {
    std::ifstream file(name);
    if (!file) throw std::runtime_error("there is no file " + name);
    std::vector<diamond::entry<city>> rows;
    std::string line;
    std::getline(file, line); // The names of the columns.
    while (std::getline(file, line)) rows.push_back(entry_from(line));
    cities.save_many(rows);
    std::cout << "imported " << rows.size() << " cities\n";
}

static void show_countries(const diamond::pin<city> &pin) {
    std::map<std::string_view, std::uint64_t> people; // The names of the countries lie in the pin.
    for (auto [id, city, nulls] : pin) people[city.country] += city.population;
    std::vector<std::pair<std::string_view, std::uint64_t>> order(people.begin(), people.end());
    std::sort(order.begin(), order.end(), [](auto &left, auto &right) { return left.second > right.second; });
    order.resize(std::min<std::size_t>(order.size(), 3));
    for (auto &[country, sum] : order) std::cout << country << ": " << sum << " people in great cities\n";
}

// The great-circle distance in kilometres.
static double distance(const city &from, double latitude, double longitude) {
    const double degree = std::acos(-1.0) / 180, diameter = 12742;
    double up = std::sin((latitude - from.latitude) * degree / 2);
    double across = std::sin((longitude - from.longitude) * degree / 2);
    double share = up * up + std::cos(latitude * degree) * std::cos(from.latitude * degree) * across * across;
    return diameter * std::asin(std::sqrt(share));
}

static void show_nearest(const diamond::pin<city> &pin, double latitude, double longitude) {
    auto nearest = std::min_element(pin.begin(), pin.end(), [&](auto left, auto right) {
        return distance(left.record, latitude, longitude) < distance(right.record, latitude, longitude);
    });
    if (nearest == pin.end()) throw std::runtime_error("there are no cities");
    std::cout << "nearest: record " << nearest->id << ", " << nearest->record.name.view() << " ("
              << nearest->record.country.view() << "), "
              << std::lround(distance(nearest->record, latitude, longitude)) << " km\n";
}

static void run(int count, char **arguments) {
    if (count != 5) throw std::runtime_error("usage: cities DATABASE CSV LATITUDE LONGITUDE");
    diamond::database db(arguments[1]);
    auto cities = db.make_table<city>("cities");
    if (cities.count() == 0) import(cities, arguments[2]);

    diamond::pin<city> pin = cities.pin(); // The table in place, as it is now.
    show_countries(pin);
    show_nearest(pin, std::stod(arguments[3]), std::stod(arguments[4]));

    // One more lives in the first; whoever else changes it meanwhile is not overwritten.
    cities.update(0, [](city &it) { it.population++; });
    city first = cities.fetch(0);
    std::cout << first.name.view() << ": " << first.population << " people, "
              << first.population - pin.begin()->record.population << " more than in the pin\n";
    db.close(); // Says whether all became durable.
}

int main(int count, char **arguments) {
    try {
        run(count, arguments);
        return 0;
    } catch (const std::exception &failure) {
        std::cerr << failure.what() << '\n';
        return 1;
    }
}
